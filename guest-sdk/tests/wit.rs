//! The WIT package must resolve, and every item of ours must be documented: it is a reference.

use std::path::PathBuf;

use anyhow::{Context, Result};
use wit_parser::{PackageId, Resolve, TypeDefKind};

fn package() -> Result<(Resolve, PackageId)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(&folder).with_context(|| format!("parse {folder:?}"))?;
    Ok((resolve, package))
}

#[test]
fn the_package_has_its_worlds_and_interfaces() -> Result<()> {
    let (resolve, id) = package()?;
    let package = &resolve.packages[id];
    assert_eq!(package.name.to_string(), "host:cluster@0.1.0");
    for world in [
        "plugin",
        "http-plugin",
        "connection-plugin",
        "loop-plugin",
        "events-plugin",
        "primary-program",
        "program",
    ] {
        assert!(package.worlds.contains_key(world), "world {world}");
    }
    for interface in
        ["types", "messages", "process", "ipc", "connections", "child-process", "primary"]
    {
        assert!(package.interfaces.contains_key(interface), "interface {interface}");
    }
    for handler in ["connection-handler", "message-handler", "signal-handler", "lifecycle"] {
        assert!(package.interfaces.contains_key(handler), "handler {handler}");
    }
    Ok(())
}

#[test]
fn only_the_primary_program_may_import_primary() -> Result<()> {
    let (resolve, id) = package()?;
    for (name, &world) in &resolve.packages[id].worlds {
        let primary = resolve.worlds[world]
            .imports
            .keys()
            .any(|key| resolve.name_world_key(key) == "host:cluster/primary@0.1.0");
        assert_eq!(primary, name == "primary-program", "world {name}");
    }
    Ok(())
}

#[test]
fn every_function_and_error_is_documented() -> Result<()> {
    let (resolve, id) = package()?;
    let mut missing = Vec::new();
    for (name, &interface) in &resolve.packages[id].interfaces {
        let interface = &resolve.interfaces[interface];
        for (function, item) in &interface.functions {
            // A handler of one function is documented by its interface.
            if item.docs.contents.is_none() && interface.functions.len() > 1 {
                missing.push(format!("{name}.{function}"));
            }
        }
        for (ty, &item) in &interface.types {
            let def = &resolve.types[item];
            let imported = matches!(def.kind, TypeDefKind::Type(_)) && def.docs.contents.is_none();
            if def.docs.contents.is_none() && !imported {
                missing.push(format!("{name}.{ty}"));
            }
            if let TypeDefKind::Variant(variant) = &def.kind
                && ty.ends_with("-error")
            {
                let bare = variant.cases.iter().filter(|case| case.docs.contents.is_none());
                missing.extend(bare.map(|case| format!("{name}.{ty}.{}", case.name)));
            }
        }
    }
    assert!(missing.is_empty(), "undocumented: {missing:?}");
    Ok(())
}
