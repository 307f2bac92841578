//! Streams, events and signals of a child that runs.

use serde_json::json;

use super::{ask, script, serving};
use crate::support::{http, process, wait_for};

#[test]
fn exit_comes_before_close_and_output_arrives_whole() {
    let server = serving(&[], &[]);
    let input = "x".repeat(3 << 20);
    let answer = ask(
        &server,
        "/run",
        json!({ "program": "sh", "args": script("cat; exit 4"),
        "stdio": ["pipe", "pipe", "ignore"], "input": "short" }),
    );
    assert_eq!(answer["stdout"], "short");
    assert_eq!(answer["events"], json!(["exit code 4", "close"]));
    for program in ["actor", "sh"] {
        let args = if program == "actor" { json!(["cat"]) } else { script("cat") };
        let wanted = json!({ "program": program, "args": args, "input": input });
        let answer = ask(&server, "/exec", merged(wanted, json!({ "max_buffer": 8 << 20 })));
        assert_eq!((&answer["exit"], &answer["bytes"]), (&json!("code 0"), &json!(3 << 20)));
    }
    server.finish();
}

fn merged(mut one: serde_json::Value, other: serde_json::Value) -> serde_json::Value {
    for (key, value) in other.as_object().expect("an object") {
        one[key] = value.clone();
    }
    one
}

#[test]
fn a_body_of_any_size_flows_through_a_program() {
    let server = serving(&["cat=/bin/cat"], &["--max-memory-size", "64M"]);
    let small = flow(&server, 1 << 20);
    let worker = server.workers()[0];
    let before = process::peak_memory_kib(worker);
    let large = flow(&server, 96 << 20);
    let grown = process::peak_memory_kib(worker) - before;
    assert_eq!((small, large), (1 << 20, 96 << 20));
    assert!(grown < 16 << 10, "the worker grew by {grown} KiB");
    server.finish();
}

fn flow(server: &crate::support::Server, size: usize) -> usize {
    use std::io::Write;
    let mut connection = server.connect();
    let mut writer = connection.writer();
    let sender = std::thread::spawn(move || {
        let head = format!("POST /flow HTTP/1.1\r\nhost: test\r\ncontent-length: {size}\r\n\r\n");
        writer.write_all(head.as_bytes()).expect("send the head");
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..size / piece.len() {
            writer.write_all(&piece).expect("send the body");
        }
    });
    let response: http::Response = connection.response();
    sender.join().expect("the sender");
    assert!(response.body.iter().all(|byte| *byte == b'x'));
    response.body.len()
}

#[test]
fn inherited_output_reaches_the_host_line_by_line() {
    let server = serving(&[], &[]);
    let stdio = json!(["ignore", "inherit", "inherit"]);
    let args = json!(["say", "to stdout", "complain", "to stderr"]);
    let answer = ask(&server, "/run", json!({ "program": "actor", "args": args, "stdio": stdio }));
    assert_eq!(answer["events"], json!(["exit code 0", "close"]));
    let line = server.wait_output("to stdout");
    assert_eq!(line, "[worker 1 actor] to stdout");
    assert_eq!(server.wait_line("to stderr"), "[worker 1 actor] to stderr");
    server.finish();
}

#[test]
fn ignored_streams_lead_nowhere() {
    let server = serving(&[], &[]);
    let stdio = json!(["ignore", "ignore", "ignore"]);
    for (program, args) in [("actor", json!(["cat", "say", "x"])), ("sh", script("cat; echo x"))] {
        let wanted = json!({ "program": program, "args": args, "stdio": stdio });
        let answer = ask(&server, "/run", wanted);
        assert_eq!(answer["events"], json!(["exit code 0", "close"]));
    }
    server.finish();
}

#[test]
fn a_signal_ends_it_and_the_next_finds_it_ended() {
    let server = serving(&[], &[]);
    let asleep = script("echo sleeping; exec sleep 3600");
    for (program, args) in [("actor", json!(["sleep"])), ("sh", asleep)] {
        for signal in ["SIGTERM", "SIGKILL", "SIGUSR1"] {
            let wanted = json!({ "program": program, "args": args, "kill_signal": signal });
            let answer = ask(&server, "/kill", wanted);
            assert_eq!(answer["exit"], format!("signal {signal}"), "{program}");
            assert_eq!(answer["again"], "the child has ended");
            assert!(answer["by_pid"].is_string(), "it was signalled by number");
        }
    }
    server.finish();
}

#[test]
fn writing_to_a_closed_stdin_says_so() {
    let server = serving(&[], &[]);
    let closed = "the other side has closed the stream";
    let answer = ask(&server, "/stuff", json!({ "program": "sh", "args": script("exec <&-") }));
    assert_eq!(answer["write"], closed);
    let answer = ask(&server, "/stuff", json!({ "program": "actor", "args": ["say", "x"] }));
    assert_eq!(answer["write"], closed);
    server.finish();
}

#[test]
fn its_number_is_the_one_that_ps_shows() {
    let server = serving(&[], &[]);
    let stdio = json!(["ignore", "ignore", "ignore"]);
    let wanted = json!({ "program": "actor", "args": ["sleep"], "stdio": stdio });
    let pid = ask(&server, "/leave", wanted)["pid"].as_u64().expect("a number") as u32;
    wait_for("its title", || (process::title(pid) == "host: program actor").then_some(()));
    let own = ask(&server, "/run", json!({ "program": "actor", "args": ["pid", "role"] }));
    assert_eq!(own["stdout"], format!("{}\nprogram\n", own["pid"]));
    server.signal(nix::sys::signal::Signal::SIGQUIT);
    wait_for("the child to be gone", || (!process::is_alive(pid)).then_some(()));
}

#[test]
fn a_program_cannot_start_programs() {
    let server = serving(&[], &[]);
    let answer = ask(&server, "/exec", json!({ "program": "actor", "args": ["spawn", "sh"] }));
    assert_eq!(answer["stdout"], "not granted\n");
    server.finish();
}
