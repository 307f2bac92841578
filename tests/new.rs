//! `host new`: the projects it writes build, and what they build serves.

use crate::support::Server;
use crate::support::once::{Ended, run_command};
use crate::support::place::{self, HOST, Scratch};
use std::path::Path;
use std::process::Command;

fn new(folder: &Path, language: &str, name: &str) -> Ended {
    let mut command = Command::new(HOST);
    command.current_dir(folder).env("XDG_CACHE_HOME", place::shared_cache());
    run_command(command, &["new", "--lang", language, name])
}

fn project(scratch: &Scratch, language: &str) -> String {
    let ended = new(scratch.path(), language, "my-app");
    assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{:?}", ended.stderr);
    let text = ended.stdout.join("\n");
    let flag = if language == "node" { "--primary" } else { "--plugin" };
    assert!(text.contains("cd my-app") && text.contains(&format!("host serve {flag} ")), "{text}");
    scratch.at("my-app")
}

fn build(mut command: Command) {
    let output = command.output().expect("start the build");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn says_hello(plugin: &str) {
    answers(Server::start(&["--plugin", plugin]));
}

fn answers(server: Server) {
    let text = server.get("/").text();
    assert!(text.starts_with("hello from my-app"), "{text}");
    server.finish();
}

#[test]
fn a_project_in_rust_builds_and_serves() {
    let scratch = Scratch::new();
    let folder = project(&scratch, "rust");
    let plugins = place::in_plugins("").expect("plugins/");
    // The versions and what was built of them for the other plugins: a build from nothing takes minutes.
    std::fs::copy(format!("{plugins}/Cargo.lock"), format!("{folder}/Cargo.lock"))
        .expect("copy the lock");
    let mut command = Command::new(format!("{plugins}/toolchain.sh"));
    command.args(["cargo", "wasm32-wasip2", "build", "--release", "--quiet"]);
    command.args(["--manifest-path", &format!("{folder}/Cargo.toml")]);
    command.args(["--target-dir", &format!("{plugins}/target")]);
    build(command);
    let built = format!("{plugins}/target/wasm32-wasip2/release/app.wasm");
    says_hello(&built);
    std::fs::remove_file(built).expect("remove what was built");
}

#[test]
fn a_project_in_c_builds_and_serves() {
    let Some(wit_bindgen) = super::languages::built(".tools/bin/wit-bindgen") else { return };
    let scratch = Scratch::new();
    let folder = project(&scratch, "c");
    let mut command = Command::new("make");
    // Not the flags of a `make test` around this.
    command.args(["-C", &folder, &format!("WIT_BINDGEN={wit_bindgen}")]).env_remove("MAKEFLAGS");
    build(command);
    says_hello(&format!("{folder}/build/app.wasm"));
}

#[test]
fn a_project_in_javascript_builds_and_serves() {
    let Some(packages) = super::languages::built("../guest-sdk/js/node_modules") else { return };
    let scratch = Scratch::new();
    let folder = project(&scratch, "js");
    // In place of `npm install`, which would fetch them again.
    std::os::unix::fs::symlink(packages, format!("{folder}/node_modules")).expect("link packages");
    let mut command = Command::new("node");
    command.current_dir(&folder).args([
        "host-sdk/build/main.js",
        "src/app.js",
        "-o",
        "build/app.wasm",
    ]);
    command.args(["--engine", "quickjs"]);
    let package = r#"import { serve } from "../host-sdk/src/fetch.js";"#;
    let source = format!("{folder}/src/app.js");
    let text = std::fs::read_to_string(&source).expect("read the handler");
    let text = text.replace(r#"import { serve } from "host-sdk/fetch";"#, package);
    std::fs::write(&source, text).expect("write the handler");
    build(command);
    says_hello(&format!("{folder}/build/app.wasm"));
}

#[test]
fn a_project_of_a_node_script_builds_and_serves() {
    let Some(packages) = super::languages::built("../guest-sdk/js/node_modules") else { return };
    let scratch = Scratch::new();
    let folder = project(&scratch, "node");
    std::os::unix::fs::symlink(packages, format!("{folder}/node_modules")).expect("link packages");
    let mut command = Command::new("node");
    let script = ["src/server.js", "--node", "-o", "build/app.wasm"];
    command.current_dir(&folder).arg("host-sdk/build/main.js").args(script);
    build(command);
    let app = format!("{folder}/build/app.wasm");
    answers(Server::start(&["--primary", &app, "--workers", "manual"]));
}

#[test]
fn a_folder_that_is_there_and_a_bad_name_are_refused_in_one_line() {
    let scratch = Scratch::new();
    project(&scratch, "python");
    let before = std::fs::read(scratch.at("my-app/app.py")).expect("the handler");
    for (name, words) in
        [("my-app", "it is there already"), ("../up", "a name is"), ("My App", "a name is")]
    {
        let ended = new(scratch.path(), "c", name);
        assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{:?}", ended.stderr);
        assert!(ended.stderr[0].contains(words), "{:?}", ended.stderr);
    }
    assert_eq!(std::fs::read(scratch.at("my-app/app.py")).expect("the handler"), before);
    assert!(!scratch.path().join("my-app/app.c").exists());
    assert!(!scratch.path().join("../up").exists());
    assert_eq!(new(scratch.path(), "cobol", "other").code, Some(2));
}
