//! From an artifact to something that can be instantiated: load, link, and find the handler.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{p2, p3};

use super::state::{State, Template};

/// Adds imports beyond WASI, such as `host:cluster`.
pub type Extension<'a> = &'a dyn Fn(&mut Linker<State>) -> Result<()>;

/// What the plugin exports, ready to be instantiated.
pub enum Handler {
    V02(p2::bindings::ProxyPre<State>),
    V03(p3::bindings::ServicePre<State>),
}

pub struct Plugin {
    pub engine: Engine,
    pub handler: Handler,
    pub template: Arc<Template>,
}

/// Where the machine code is.
pub enum Artifact<'a> {
    Bytes(&'a [u8]),
    /// A path that can be mapped, so that workers share the pages.
    File(PathBuf),
}

impl Plugin {
    /// Loads and links, and instantiates once: a plugin that fails here would fail every request.
    pub async fn load(
        engine: &Engine,
        artifact: Artifact<'_>,
        template: Template,
        extension: Extension<'_>,
    ) -> Result<Plugin> {
        let component = deserialize(engine, artifact).context(BadArtifact)?;
        let linker = linker(engine, &component, extension)?;
        let missing = missing_imports(&component, &linker);
        if !missing.is_empty() {
            bail!("the plugin imports {}, which nobody provides", missing.join(", "));
        }
        let version = handler_version(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let handler = match version {
            Version::V02 => Handler::V02(p2::bindings::ProxyPre::new(pre)?),
            Version::V03 => Handler::V03(p3::bindings::ServicePre::new(pre)?),
        };
        let plugin = Plugin { engine: engine.clone(), handler, template: Arc::new(template) };
        plugin.try_out().await.map_err(|error| {
            // The backtrace names functions of a plugin whose author reads its own stderr.
            anyhow::anyhow!("instantiate the plugin: {}", error.root_cause())
        })?;
        Ok(plugin)
    }

    async fn try_out(&self) -> Result<()> {
        let mut store = self.store();
        match &self.handler {
            Handler::V02(pre) => {
                pre.instantiate_async(&mut store).await?;
            }
            Handler::V03(pre) => {
                pre.instantiate_async(&mut store).await?;
            }
        }
        Ok(())
    }

    pub fn store(&self) -> Store<State> {
        let mut store = Store::new(&self.engine, self.template.state());
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(super::epoch::TICKS_PER_TURN);
        // tokio's own yield lets the network be polled before the plugin runs again; waking at once
        // would let it run dozens of turns before that.
        store.epoch_deadline_callback(|_| {
            Ok(UpdateDeadline::YieldCustom(
                super::epoch::TICKS_PER_TURN,
                Box::pin(tokio::task::yield_now()),
            ))
        });
        store
    }
}

/// Says of an error that the machine code is at fault, not the plugin.
#[derive(Debug)]
pub struct BadArtifact;

impl std::fmt::Display for BadArtifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("load artifact")
    }
}

fn deserialize(engine: &Engine, artifact: Artifact<'_>) -> Result<Component> {
    // SAFETY: the artifact is a sealed memory file that our own compiler wrote; the primary passes
    // no other. A forged one would run as machine code, but inside this sandboxed worker only.
    let component = unsafe {
        match artifact {
            Artifact::Bytes(bytes) => Component::deserialize(engine, bytes),
            Artifact::File(path) => Component::deserialize_file(engine, path),
        }
    };
    Ok(component?)
}

fn linker(
    engine: &Engine,
    component: &Component,
    extension: Extension<'_>,
) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    // Streams come again by a way that does not ask for the whole WASI context.
    linker.allow_shadowing(true);
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(false);
    p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, |state: &mut State| {
        WasiConfig::new(state.config())
    })?;
    if uses_wasi_03(component) {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
    }
    extension(&mut linker)?;
    Ok(linker)
}

/// Only an engine with concurrency support can link the 0.3 interfaces, and every plugin that
/// names one was compiled for such an engine.
fn uses_wasi_03(component: &Component) -> bool {
    let ty = component.component_type();
    let engine = component.engine();
    let mut names =
        ty.imports(engine).map(|(name, _)| name).chain(ty.exports(engine).map(|(name, _)| name));
    names.any(|name| name.starts_with("wasi:") && name.contains("@0.3"))
}

enum Version {
    V02,
    V03,
}

fn handler_version(component: &Component) -> Result<Version> {
    let ty = component.component_type();
    let exports: Vec<String> =
        ty.exports(component.engine()).map(|(name, _)| name.to_owned()).collect();
    if exports.iter().any(|name| name.starts_with("wasi:http/handler@0.3")) {
        return Ok(Version::V03);
    }
    if exports.iter().any(|name| name.starts_with("wasi:http/incoming-handler@0.2")) {
        return Ok(Version::V02);
    }
    let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
    bail!(
        "the plugin exports {found}; expected wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3"
    )
}

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
