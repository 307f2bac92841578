//! Whatever is wrong is refused in the words of the interface, and nothing is left of it.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{ask, granted, script, serving};
use crate::support::once::{self, refused};
use crate::support::{Scratch, Server, plugin, process, settled, wait_for, wat};

fn error(server: &Server, wanted: Value) -> String {
    let answer = ask(server, "/exec", wanted.clone());
    answer["error"].as_str().unwrap_or_else(|| panic!("{wanted}: {answer}")).to_owned()
}

#[test]
fn only_what_was_granted_can_be_started() {
    let server = serving(&[], &[]);
    for name in ["bash", "/bin/sh", "", "../sh", "sh\0"] {
        assert_eq!(error(&server, json!({ "program": name })), "not granted");
    }
    assert_eq!(server.get("/programs").text(), "actor sh");
    server.finish();
}

#[test]
fn words_no_program_can_be_given_are_refused() {
    let server = serving(&[], &[]);
    for program in ["actor", "sh"] {
        let with =
            |key: &str, value: Value| error(&server, json!({ "program": program, key: value }));
        assert_eq!(with("args", json!(["a\0b"])), "invalid: an argument holds a NUL");
        assert_eq!(with("cwd", json!("/\0")), "invalid: the directory holds a NUL");
        assert_eq!(with("env", json!([["A", "\0"]])), "invalid: the variable A holds a NUL");
        for name in ["", "A=B", "A\0"] {
            let env = json!([[name, "x"]]);
            assert!(with("env", env).starts_with("invalid: the variable's name"), "{name:?}");
        }
        let large = "too large: arguments and environment exceed 131072 bytes";
        assert_eq!(with("args", json!(["x".repeat(200_000)])), large);
        assert_eq!(with("args", json!(vec!["x"; 20_000])), large);
        assert_eq!(with("env", json!([["A", "x".repeat(200_000)]])), large);
        assert_eq!(with("cwd", json!("/no/such/place")), "no such directory");
        assert_eq!(with("uid", json!(0)), "not permitted");
        assert_eq!(with("gid", json!(1)), "not permitted");
    }
    server.finish();
}

#[test]
fn a_native_program_has_no_message_channel() {
    let server = serving(&[], &[]);
    let answer = ask(&server, "/fork", json!({ "program": "sh" }));
    assert_eq!(answer["error"], "unsupported: a native program has no message channel");
    server.finish();
}

#[test]
fn a_native_program_that_vanished_or_changed_is_not_started_until_a_reload() {
    let scratch = Scratch::new();
    open(scratch.path(), 0o755);
    let tool = scratch.write("tool", "#!/bin/sh\necho one\n");
    open(scratch.path().join("tool"), 0o755);
    let mut server = serving(&[&format!("tool={tool}")], &[]);
    let wanted = json!({ "program": "tool" });
    assert_eq!(ask(&server, "/exec", wanted.clone())["stdout"], "one\n");
    scratch.write("tool", "#!/bin/sh\necho another\n");
    assert_eq!(error(&server, wanted.clone()), "program changed");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_ready(2);
    assert_eq!(ask(&server, "/exec", wanted.clone())["stdout"], "another\n");
    std::fs::remove_file(&tool).expect("remove the tool");
    assert_eq!(error(&server, wanted), "program missing");
    server.finish();
}

#[test]
fn watch_reloads_when_a_program_changes() {
    let scratch = Scratch::new();
    open(scratch.path(), 0o755);
    let tool = scratch.write("tool", "#!/bin/sh\necho one\n");
    open(scratch.path().join("tool"), 0o755);
    let mut server = serving(&[&format!("tool={tool}")], &["--watch"]);
    scratch.write("tool", "#!/bin/sh\necho another\n");
    server.wait_ready(2);
    assert_eq!(ask(&server, "/exec", json!({ "program": "tool" }))["stdout"], "another\n");
    server.finish();
}

fn open(path: impl AsRef<std::path::Path>, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set permissions");
}

#[test]
fn a_wasm_program_that_vanished_or_changed_is_not_started_until_a_reload() {
    let scratch = Scratch::new();
    let file = scratch.at("actor.wasm");
    std::fs::copy(plugin("actor"), &file).expect("copy the program");
    let mut server = serving(&[&format!("copy={file}")], &[]);
    let wanted = json!({ "program": "copy", "args": ["say", "still"] });
    assert_eq!(ask(&server, "/exec", wanted.clone())["stdout"], "still\n");
    std::fs::write(&file, b"no program").expect("overwrite it");
    assert_eq!(error(&server, wanted.clone()), "program changed");
    std::fs::copy(plugin("actor"), &file).expect("copy the program");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_ready(2);
    assert_eq!(ask(&server, "/exec", wanted.clone())["stdout"], "still\n");
    std::fs::remove_file(&file).expect("remove the program");
    assert_eq!(error(&server, wanted), "program missing");
    server.finish();
}

#[test]
fn children_are_counted_and_so_is_what_they_may_use() {
    let small = granted("small", "actor", ",memory=10M");
    let server = serving(&[&small], &["--max-children", "3", "--max-children-memory", "40M"]);
    let asleep =
        json!({ "program": "small", "args": ["sleep"], "stdio": ["ignore", "ignore", "ignore"] });
    for _ in 0..3 {
        assert!(ask(&server, "/leave", asleep.clone())["pid"].is_u64());
    }
    let answer = ask(&server, "/leave", asleep.clone());
    assert_eq!(answer["error"], "too many children: the limit is 3");
    // 256 MiB is what a program may use unless told otherwise.
    let server = serving(&[], &["--max-children-memory", "300M"]);
    let asleep =
        json!({ "program": "actor", "args": ["sleep"], "stdio": ["ignore", "ignore", "ignore"] });
    assert!(ask(&server, "/leave", asleep.clone())["pid"].is_u64());
    assert_eq!(
        ask(&server, "/leave", asleep)["error"],
        "too much memory: the limit is 314572800 bytes"
    );
}

#[test]
fn processor_time_of_all_children_together_is_limited() {
    let server = serving(&[], &["--max-children-cpu", "300ms"]);
    let spin = ask(&server, "/exec", json!({ "program": "actor", "args": ["spin"] }));
    assert_eq!(spin["exit"], "signal SIGKILL (limit: cpu-time)");
    let used_up = "too much processor time: the limit is 300ms a minute";
    assert_eq!(error(&server, json!({ "program": "actor", "args": ["say", "x"] })), used_up);
    assert_eq!(error(&server, json!({ "program": "sh", "args": script("exit") })), used_up);
    server.wait_line("killing child processes: together they used 300ms");
    server.finish();
    // The one that uses it up is not the one that was started, and has not ended.
    let server = serving(&[], &["--max-children-cpu", "300ms"]);
    let words = script("sh -c 'while :; do :; done' & wait");
    let answer = ask(&server, "/exec", json!({ "program": "sh", "args": words }));
    assert_eq!(answer["exit"], "signal SIGKILL (limit: cpu-time)");
    server.finish();
}

#[test]
fn short_runs_add_up() {
    let server = serving(&[], &["--max-children-cpu", "200ms"]);
    let short = json!({ "program": "sh",
        "args": script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done") });
    let refused = || ask(&server, "/exec", short.clone())["error"].is_string().then_some(());
    wait_for("a run too much", refused);
    assert_eq!(
        error(&server, short.clone()),
        "too much processor time: the limit is 200ms a minute"
    );
    server.finish();
}

#[test]
fn nothing_is_left_of_what_went_wrong() {
    let server = serving(&[], &[]);
    let wrong = [
        json!({ "program": "nobody" }),
        json!({ "program": "sh", "cwd": "/no/such/place" }),
        json!({ "program": "actor", "cwd": "/no/such/place" }),
        json!({ "program": "sh", "uid": 1 }),
        json!({ "program": "sh", "args": ["a\0"] }),
    ];
    let round = || {
        wrong.iter().for_each(|wanted| drop(error(&server, wanted.clone())));
        ask(&server, "/exec", json!({ "program": "sh", "args": script("kill -KILL $$") }));
        ask(&server, "/exec", json!({ "program": "actor", "args": ["panic"] }));
        ask(&server, "/exec", json!({ "program": "sh", "args": script("yes"), "max_buffer": 9 }));
    };
    round();
    let everybody = || [vec![server.pid()], process::children(server.pid())].concat();
    let open = || everybody().into_iter().map(process::open_files).sum::<usize>();
    let (before, processes) = (settled(open), everybody().len());
    (0..20).for_each(|_| round());
    wait_for("what is open to close", || (open() <= before).then_some(()));
    assert_eq!(everybody().len(), processes);
    assert!(!process::has_zombies(server.pid()));
    server.finish();
}

#[test]
fn a_grant_that_cannot_be_kept_stops_the_host_from_starting() {
    let children = plugin("children");
    let with = |program: &str, parts: &[&str]| {
        let args = ["--plugin", children.as_str(), "--workers", "1", "--program", program];
        refused(&args, &[&["--program x"], parts].concat());
    };
    with("x=/no/such/file", &["/no/such/file"]);
    with("x=/etc/passwd", &["/etc/passwd"]);
    with(&format!("x={}", plugin("hello")), &["expected wasi:cli/run", "a command"]);
    with(&format!("x={}", plugin("counter_primary")), &["host:cluster/primary"]);
    with(&format!("x={}", wat("bad-syntax")), &["bad-syntax.wat"]);
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let hello = plugin("hello");
    for (value, parts) in [
        ("x", ["--program x", "NAME=PATH"]),
        ("x=/bin/sh,memory=much", ["--program x", "memory much"]),
        ("x=/bin/sh,color=red", ["--program x", "unknown key `color`"]),
    ] {
        let ended = once::run(&["serve", "--plugin", &hello, "--program", value]);
        once::assert_one_line(&ended, 2, &parts);
    }
    let twice = ["serve", "--plugin", &hello, "--program", "x=/bin/sh", "--program", "x=/bin/ls"];
    once::assert_one_line(&once::run(&twice), 2, &["--program x", "twice"]);
}
