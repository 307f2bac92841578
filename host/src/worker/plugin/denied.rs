//! What a component that is the primary program, too, may name in a worker and not call.

use anyhow::Result;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use crate::worker::state::State;

/// Every function of `host:cluster/primary` traps: none of them is linked.
pub fn add_to_linker(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let (ty, engine) = (component.component_type(), component.engine());
    for (name, item) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !name.starts_with("host:cluster/primary@") {
            continue;
        }
        let mut denied = linker.instance(name)?;
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                let what = format!("{name}.{function}: only the primary program may call it");
                denied.func_new(function, move |_, _, _, _| {
                    Err(wasmtime::Error::msg(what.clone()))
                })?;
            }
        }
    }
    Ok(())
}
