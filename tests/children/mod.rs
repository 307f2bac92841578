//! `host:cluster/child-process`: what a plugin may start, what it hears of it, and what is left.

mod bad;
mod examples;
mod exec;
mod fork;
mod lifecycle;
mod native;
mod spawn;

use serde_json::Value;

use crate::support::{Server, plugin};

/// A flag that grants a program built from plugins/.
fn granted(name: &str, file: &str, keys: &str) -> String {
    format!("{name}={}{keys}", plugin(file))
}

/// The fixture with the program `actor`, a native shell, and whatever else is granted.
fn serving(programs: &[&str], flags: &[&str]) -> Server {
    let actor = granted("actor", "actor", "");
    let mut all = vec!["--program", actor.as_str(), "--program", "sh=/bin/sh"];
    for program in programs {
        all.extend(["--program", program]);
    }
    all.extend(flags);
    Server::serving("children", &all)
}

/// Has the fixture do what the value says.
fn ask(server: &Server, path: &str, wanted: Value) -> Value {
    let response = server.connect().post(path, wanted.to_string().as_bytes());
    assert_eq!(response.status(), 200, "{path} {wanted}: {}", response.text());
    response.json()
}

/// The arguments that have the shell run this.
fn script(text: &str) -> Value {
    serde_json::json!(["-c", text])
}
