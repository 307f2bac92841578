//! Imports that nobody provides.

use anyhow::Result;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};

use crate::worker::state::State;

/// The names of the imports that `linker` cannot satisfy, in the plugin's order. wasmtime reports
/// the first only, so each name found missing is filled with a stub before the next try.
pub fn missing_imports(component: &Component, linker: &Linker<State>) -> Vec<String> {
    let mut linker = linker.clone();
    let mut missing = Vec::new();
    let ty = component.component_type();
    for (name, item) in ty.imports(component.engine()) {
        let Err(error) = linker.instantiate_pre(component) else { break };
        let error = format!("{error:?}");
        if error.contains(&format!("`{name}`")) {
            missing.push(name.to_owned());
            let _ = fill(&mut linker, component.engine(), name, &item.ty);
        }
    }
    missing
}

fn fill(
    linker: &mut Linker<State>,
    engine: &Engine,
    name: &str,
    item: &ComponentItem,
) -> Result<()> {
    linker.allow_shadowing(true);
    let ComponentItem::ComponentInstance(instance) = item else {
        return Ok(linker.root().func_new(name, |_, _, _, _| Ok(()))?);
    };
    let mut stub = linker.instance(name)?;
    for (name, item) in instance.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => stub.func_new(name, |_, _, _, _| Ok(()))?,
            ComponentItem::Resource(_) => {
                stub.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?
            }
            _ => {}
        }
    }
    Ok(())
}
