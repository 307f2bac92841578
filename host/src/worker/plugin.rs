//! From an artifact to something that can be instantiated: load, link, and find what it exports.

mod command;
mod denied;
mod missing;
mod serving;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{p2, p3};

use super::settings::Process;
use super::state::{State, Template};
use super::{http02, imports};
use crate::engine;
pub use command::Command;
use command::Version;
use missing::missing_imports;
use serving::{Serving, exported, has_import};

const PROGRAM: &str = "the primary program";

/// Adds imports beyond WASI, such as `host:cluster`.
type Extension<'a> = &'a dyn Fn(&mut Linker<State>) -> Result<()>;

/// Who answers the clients, ready to be instantiated.
pub enum Handler {
    V02(ComponentExportIndex),
    V03(p3::bindings::ServicePre<State>),
    /// `connection-handler`: a call for each connection.
    Connections(ComponentExportIndex),
    /// `wasi:cli/run`, which may accept connections itself.
    Accepts,
    Nobody,
}

pub struct Plugin {
    pub engine: Engine,
    pub handler: Handler,
    /// The main loop, if it is to be run.
    pub main: Option<Command>,
    pub pre: InstancePre<State>,
    pub exports: Exports,
    pub template: Arc<Template>,
}

/// The exports beside the serving ones.
#[derive(Clone, Copy, Default)]
pub struct Exports {
    pub start: Option<ComponentExportIndex>,
    pub drain: Option<ComponentExportIndex>,
    pub on_message: Option<ComponentExportIndex>,
    pub on_signal: Option<ComponentExportIndex>,
}

impl Exports {
    fn of(component: &Component) -> Exports {
        let find = |interface, function| export(component, interface, function);
        Exports {
            start: find("host:cluster/lifecycle@0.1.0", "start"),
            drain: find("host:cluster/lifecycle@0.1.0", "drain"),
            on_message: find("host:cluster/message-handler@0.1.0", "on-message"),
            on_signal: find("host:cluster/signal-handler@0.1.0", "on-signal"),
        }
    }

    /// Whether there is anything for a resident instance to do.
    pub fn any(&self) -> bool {
        let all = [self.start, self.drain, self.on_message, self.on_signal];
        all.iter().any(Option::is_some)
    }
}

fn export(component: &Component, interface: &str, name: &str) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, interface)?;
    component.get_export_index(Some(&interface), name)
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
        process: &Process,
    ) -> Result<Plugin> {
        let component = deserialize(engine, artifact).context(BadArtifact)?;
        let names_primary = has_import(&component, "host:cluster/primary");
        if names_primary && !process.is_program_too {
            bail!(
                "the plugin imports host:cluster/primary, which only a primary program (--primary) may"
            );
        }
        let mut linker = linker(engine, &component, &imports::add_to_linker)?;
        if names_primary {
            denied::add_to_linker(&mut linker, &component)?;
        }
        let pre = link(&component, &linker, "the plugin")?;
        let serving = Serving::choose(&component, process.protocol)?;
        let handler = match serving {
            Serving::V02(handle) => Handler::V02(handle),
            Serving::V03 => Handler::V03(p3::bindings::ServicePre::new(pre.clone())?),
            Serving::Connections(handle) => Handler::Connections(handle),
            Serving::Accepts => Handler::Accepts,
            Serving::Nothing => Handler::Nobody,
        };
        let main = match handler {
            Handler::V02(_) | Handler::V03(_) => None,
            _ => Version::of(&component).map(|version| Command::new(version, &pre)).transpose()?,
        };
        let exports = Exports::of(&component);
        let (engine, template) = (engine.clone(), Arc::new(template));
        let plugin = Plugin { engine, handler, main, pre, exports, template };
        plugin.try_out("the plugin").await?;
        Ok(plugin)
    }

    /// The primary program: a command, and nothing but a command.
    pub async fn load_program(
        engine: &Engine,
        artifact: Artifact<'_>,
        template: Template,
    ) -> Result<Plugin> {
        let component = deserialize(engine, artifact).context(BadArtifact)?;
        let (pre, main) =
            link_command(engine, &component, &imports::add_primary_to_linker, PROGRAM)?;
        let main = Some(main);
        let (engine, template) = (engine.clone(), Arc::new(template));
        let (handler, exports) = (Handler::Nobody, Exports::default());
        let plugin = Plugin { engine, handler, main, pre, exports, template };
        plugin.try_out(PROGRAM).await?;
        Ok(plugin)
    }

    /// A program: loaded and linked, but none of it runs yet.
    pub fn load_command(engine: &Engine, artifact: Artifact<'_>) -> Result<Command> {
        let component = deserialize(engine, artifact).context(BadArtifact)?;
        let (_, command) =
            link_command(engine, &component, &imports::add_to_linker, "the program")?;
        Ok(command)
    }

    async fn try_out(&self, what: &str) -> Result<()> {
        let mut store = self.store();
        let tried = self.pre.instantiate_async(&mut store).await;
        // The backtrace names functions of a plugin whose author reads its own stderr.
        tried.map_err(|error| anyhow::anyhow!("instantiate {what}: {}", error.root_cause()))?;
        Ok(())
    }

    pub fn store(&self) -> Store<State> {
        let mut store = Store::new(&self.engine, self.template.state());
        if !engine::LIMITS {
            return store;
        }
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(super::epoch::TICKS_PER_TURN);
        store.epoch_deadline_callback(|store| Ok(store.data().shared.turns.interrupted()));
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

fn link_command(
    engine: &Engine,
    component: &Component,
    extension: Extension<'_>,
    what: &str,
) -> Result<(InstancePre<State>, Command)> {
    let Some(version) = Version::of(component) else {
        let found = exported(component);
        bail!("{what} exports {found}; expected wasi:cli/run@0.2 or @0.3 (a command)");
    };
    let linker = linker(engine, component, extension)?;
    let pre = link(component, &linker, what)?;
    let command = Command::new(version, &pre)?;
    Ok((pre, command))
}

fn link(component: &Component, linker: &Linker<State>, what: &str) -> Result<InstancePre<State>> {
    let missing = missing_imports(component, linker);
    if !missing.is_empty() {
        bail!("{what} imports {}, which nobody provides", missing.join(", "));
    }
    Ok(linker.instantiate_pre(component)?)
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
    http02::add_to_linker(&mut linker)?;
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
