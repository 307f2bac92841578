//! What a plugin can serve, found among its exports.

use anyhow::{Result, bail};
use wasmtime::component::{Component, ComponentExportIndex};

use super::command::Version;
use super::{Exports, export};
use crate::worker::settings::Protocol;

pub fn has_import(component: &Component, interface: &str) -> bool {
    let ty = component.component_type();
    ty.imports(component.engine()).any(|(name, _)| name.split('@').next() == Some(interface))
}

pub fn has_export(component: &Component, start: &str) -> bool {
    let ty = component.component_type();
    ty.exports(component.engine()).any(|(name, _)| name.starts_with(start))
}

pub fn exported(component: &Component) -> String {
    let ty = component.component_type();
    let names: Vec<&str> = ty.exports(component.engine()).map(|(name, _)| name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// What a plugin does with connections.
pub enum Serving {
    V02(ComponentExportIndex),
    V03,
    Connections(ComponentExportIndex),
    Accepts,
    Nothing,
}

impl Serving {
    pub fn choose(component: &Component, protocol: Option<Protocol>) -> Result<Serving> {
        // Any 0.2 is found under the newest name.
        let http = match export(component, "wasi:http/incoming-handler@0.2.12", "handle") {
            _ if has_export(component, "wasi:http/handler@0.3") => Some(Serving::V03),
            handle => handle.map(Serving::V02),
        };
        let handle = export(component, "host:cluster/connection-handler@0.1.0", "handle");
        let is_command = Version::of(component).is_some();
        let accepts = is_command && has_import(component, "host:cluster/connections");
        let tcp = match handle {
            Some(handle) => Some(Serving::Connections(handle)),
            None => accepts.then_some(Serving::Accepts),
        };
        match (http, tcp, protocol) {
            (Some(_), Some(_), None) if handle.is_some() => bail!(
                "the plugin serves both HTTP and raw connections; choose with --protocol http or --protocol tcp"
            ),
            (Some(http), _, None | Some(Protocol::Http)) => Ok(http),
            (_, Some(tcp), None | Some(Protocol::Tcp)) => Ok(tcp),
            (None, _, Some(Protocol::Http)) => {
                bail!("--protocol http: the plugin exports {}", exported(component))
            }
            (_, None, Some(Protocol::Tcp)) => bail!(
                "--protocol tcp: the plugin neither exports host:cluster/connection-handler nor is a command that accepts connections"
            ),
            (None, None, None) if is_command || Exports::of(component).any() => {
                Ok(Serving::Nothing)
            }
            (None, None, None) => bail!(
                "the plugin exports {}; expected wasi:http/incoming-handler@0.2, wasi:http/handler@0.3, host:cluster/connection-handler or wasi:cli/run@0.2 or @0.3",
                exported(component)
            ),
        }
    }
}
