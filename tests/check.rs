//! `host check` and `host compile`, which need no running host.

use crate::support::once::{assert_one_line, run};
use crate::support::{Scratch, Server, place, plugin};

#[test]
fn check_says_what_a_plugin_is_and_needs() {
    let ended = run(&["check", &plugin("fixture")]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    let text = ended.stdout.join("\n");
    for part in ["HTTP (wasi:http 0.2)", "wasi:http/incoming-handler@", "--allow-outbound", "--dir"]
    {
        assert!(text.contains(part), "{text}");
    }
    let ended = run(&["check", &plugin("hello-async"), "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout.join("")).expect("JSON");
    assert_eq!(report["serves"][0], "HTTP (wasi:http 0.3)");
}

#[test]
fn check_refuses_what_cannot_be_served_in_one_line() {
    let scratch = Scratch::new();
    let garbage = scratch.write("garbage.wasm", b"\0asm\x0d\0\x01\0garbage");
    for (file, words) in [
        (garbage.as_str(), "check "),
        (&place::wat("no-handler"), "exports nothing that can be served"),
        (&place::wat("unknown-imports"), "imports what no host offers"),
        ("/nowhere.wasm", "read /nowhere.wasm: No such file"),
    ] {
        let ended = run(&["check", file]);
        assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{:?}", ended.stderr);
        assert!(ended.stderr[0].contains(words), "{:?}", ended.stderr);
    }
}

#[test]
fn a_plugin_compiled_ahead_is_served_and_a_broken_one_refused() {
    let scratch = Scratch::new();
    let artifact = scratch.at("hello.cwasm");
    let hello = place::wat("hello");
    let compiled = run(&["compile", &hello, "-o", &artifact]);
    assert_eq!(compiled.code, Some(0), "{:?}", compiled.stderr);
    let bytes = std::fs::metadata(&artifact).expect("an artifact").len();
    assert_eq!(compiled.stdout, [format!("{hello}: compiled to {artifact}, {bytes} bytes")]);
    let json = run(&["compile", &hello, "-o", &artifact, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout[0]).expect("JSON");
    let wanted = serde_json::json!({ "plugin": hello, "artifact": artifact, "bytes": bytes });
    assert_eq!(json, wanted);
    let server = Server::start(&["--plugin", &artifact, "--no-cache"]);
    assert_eq!(server.get("/").text(), "hello from wat\n");
    server.finish();
    let mut bytes = std::fs::read(&artifact).unwrap();
    bytes.truncate(bytes.len() / 2);
    let broken = scratch.write("broken.cwasm", bytes);
    let args = ["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--plugin", &broken];
    assert_one_line(&run(&args), 1, &["broken.cwasm"]);
    let nowhere = run(&["compile", &hello, "-o", "/no/such/dir/a.cwasm"]);
    assert_one_line(&nowhere, 1, &["/no/such/dir/a.cwasm"]);
}

#[test]
fn check_says_what_helps() {
    let scratch = Scratch::new();
    let file = |name: &str, text: &str| scratch.write(name, text);
    let core =
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (func (export "_start")))"#;
    let browser = r#"(module (import "__wbindgen_placeholder__" "f" (func)))"#;
    let assembly_script = r#"(module (import "env" "abort" (func)))"#;
    let node = r#"(component (import "jco:node/http@0.1.0" (instance)))"#;
    let draft = r#"(component (import "wasi:http/types@0.3.0-rc-2025-09-16" (instance)))"#;
    for (file, words) in [
        (file("core.wat", core), "build for wasm32-wasip2"),
        (file("browser.wat", browser), "built it for a browser"),
        (file("as.wat", assembly_script), "AssemblyScript"),
        (file("node.wat", node), "import host-sdk/process"),
        (file("draft.wat", draft), "a draft of WASI"),
        (place::wat("no-handler"), "`host new` writes such a project"),
    ] {
        let ended = run(&["check", &file]);
        assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{:?}", ended.stderr);
        assert!(ended.stderr[0].contains(words), "{words}: {:?}", ended.stderr);
    }
    let program = run(&["check", &plugin("counter_primary")]);
    assert_eq!(program.code, Some(0), "{:?}", program.stderr);
    assert!(program.stdout.join("\n").contains("`--primary`"), "{:?}", program.stdout);
}
