//! The built plugins must be components that import and export what their role needs, and nothing that the host
//! would refuse. Needs `plugins/` built (`cargo build --release --target wasm32-wasip2` there).

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context, Result};
use wit_parser::decoding::{DecodedWasm, decode};

/// Imported and exported interfaces, without their versions.
struct Surface {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    /// Versions of everything imported.
    versions: BTreeSet<String>,
}

fn surface(name: &str) -> Result<Surface> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../plugins/target/wasm32-wasip2/release/{name}.wasm"));
    let bytes =
        fs::read(&file).with_context(|| format!("read {file:?}; are the plugins built?"))?;
    let DecodedWasm::Component(resolve, world) = decode(&bytes).context("decode")? else {
        anyhow::bail!("{name} is not a component");
    };
    let world = &resolve.worlds[world];
    let part = |key, index| {
        let name = resolve.name_world_key(key);
        name.split('@').nth(index).unwrap_or_default().to_owned()
    };
    let name = |key| part(key, 0);
    Ok(Surface {
        imports: world.imports.keys().map(name).collect(),
        exports: world.exports.keys().map(name).collect(),
        versions: world.imports.keys().map(|key| part(key, 1)).collect(),
    })
}

/// What the plugin imports of ours, without the interfaces that only hold types and come and go with them.
fn cluster_imports(surface: &Surface) -> Vec<&str> {
    let names = surface.imports.iter().filter_map(|name| name.strip_prefix("host:cluster/"));
    names.filter(|name| !matches!(*name, "types" | "messages")).collect()
}

fn assert_plugin(name: &str, exports: &[&str], imports: &[&str]) -> Result<()> {
    let surface = surface(name)?;
    let found: Vec<&str> = surface.exports.iter().map(String::as_str).collect();
    assert_eq!(found, exports, "exports of {name}");
    assert_eq!(cluster_imports(&surface), imports, "imports of {name}");
    // Building plugins of both WASIs together must not leak one's interfaces into the other's.
    assert!(!surface.versions.iter().any(|version| version.starts_with("0.3")), "WASI of {name}");
    Ok(())
}

#[test]
fn http_plugins_export_the_handlers_they_name() -> Result<()> {
    assert_plugin("counter", &["wasi:http/incoming-handler"], &["ipc"])?;
    assert_plugin("exit_each", &["wasi:http/incoming-handler"], &["process"])?;
    assert_plugin("process_info", &["wasi:http/incoming-handler"], &["process"])?;
    assert_plugin(
        "order",
        &["host:cluster/lifecycle", "host:cluster/message-handler", "wasi:http/incoming-handler"],
        &[],
    )
}

#[test]
fn a_connection_plugin_exports_its_handler() -> Result<()> {
    assert_plugin("echo_tcp", &["host:cluster/connection-handler"], &["connections"])
}

#[test]
fn loop_plugins_are_commands() -> Result<()> {
    assert_plugin("divided", &["wasi:cli/run"], &["ipc", "process"])?;
    assert_plugin("failing", &["wasi:cli/run"], &["ipc", "process"])?;
    assert_plugin("chat", &["wasi:cli/run"], &["connections", "ipc", "process"])?;
    assert_plugin("resp", &["wasi:cli/run"], &["connections", "process"])
}

#[test]
fn primary_programs_are_commands_that_import_primary() -> Result<()> {
    for name in
        ["counter_primary", "order_primary", "divided_primary", "failing_primary", "chat_primary"]
    {
        let surface = surface(name)?;
        assert!(surface.exports.contains("wasi:cli/run"), "{name} is a command");
        assert!(cluster_imports(&surface).contains(&"primary"), "{name} imports primary");
    }
    Ok(())
}
