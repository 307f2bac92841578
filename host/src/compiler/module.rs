//! Why a core module is no component, told by what it imports and exports.

use wasmparser::{Parser, Payload};

const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// The remedy for a core module without component metadata.
pub fn remedy(module: &[u8]) -> &'static str {
    let (imports, exports) = names(module);
    let imports_from = |names: &[&str]| imports.iter().any(|from| names.contains(&from.as_str()));
    if imports_from(&["gojs", "go"]) {
        return "Go built it for a browser; use GOOS=wasip1 -buildmode=c-shared with bindings of wit-bindgen";
    }
    if imports.iter().any(|from| from.starts_with("__wbindgen") || from == "wbg") {
        return "wasm-bindgen built it for a browser; build for wasm32-wasip2";
    }
    if imports_from(&[PREVIEW_1]) && exports.iter().any(|name| name == "_start") {
        return "a program for WASI preview 1, which serves nothing: build for wasm32-wasip2 (Go, C: with bindings of \
                wit-bindgen), or make a command of it with `wasm-tools component new --adapt`";
    }
    if imports_from(&["env"]) {
        return "it imports `env`, as AssemblyScript and Emscripten have it, which no WASI host provides; bind WIT with \
                wit-bindgen, then `wasm-tools component embed`";
    }
    "build it for wasm32-wasip2, or embed a WIT world with `wasm-tools component embed`"
}

fn names(module: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
        match payload {
            Payload::ImportSection(all) => {
                let all = all.into_imports().map_while(Result::ok);
                imports.extend(all.map(|import| import.module.to_owned()));
            }
            Payload::ExportSection(all) => {
                let all = all.into_iter().map_while(Result::ok);
                exports.extend(all.map(|export| export.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}
