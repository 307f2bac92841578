//! Scripts for Node's `cluster` and `http`, unchanged: each is one component, which is the primary program and the
//! workers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::{COMPILED_WITHIN, built};
use crate::support::{Connection, Server, place, process, wait_for};

fn start(script: &str, flags: &[&str]) -> Option<Server> {
    let file = built(&format!("js/build/node/{script}.wasm"))?;
    let mut server =
        Server::launch(&[&["--primary", &file, "--workers", "manual"], flags].concat());
    server.wait_ready_within(COMPILED_WITHIN, 1);
    Some(server)
}

/// What the script has printed, whichever process of it.
fn printed(server: &Server) -> Vec<String> {
    let bare = |line: String| match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, text)) => text.to_owned(),
        None => line,
    };
    server.stdout.lines().into_iter().map(bare).collect()
}

/// What the same script prints under Node, up to this line.
fn under_node(script: &str, last: &str) -> Vec<String> {
    let file = place::repository().join(format!("plugins/js/src/node/{script}.js"));
    let mut node = Command::new("node")
        .arg(file)
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("node, with which the script was built");
    let lines = BufReader::new(node.stdout.take().expect("a pipe")).lines();
    let mut all = Vec::new();
    for line in lines.map_while(Result::ok) {
        all.push(line);
        if all.last().is_some_and(|line| line == last) {
            break;
        }
    }
    node.kill().and_then(|()| node.wait()).expect("the end of node");
    all
}

#[test]
fn the_classic_script_forks_a_worker_per_processor_and_counts_their_requests() {
    let Some(server) = start("counter", &[]) else { return };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    wait_for("all workers", || (server.serving_ids().len() == workers).then_some(()));
    for _ in 0..10 {
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    server.wait_output("numReq = 10");
    let victim = server.workers()[0];
    process::signal(victim, Signal::SIGKILL);
    server.wait_output(&format!("worker {victim} died (SIGKILL)"));
    wait_for("its successor", || (server.serving_ids().len() == workers).then_some(()));
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn the_order_of_events_is_nodes() {
    let Some(server) = start("order", &[]) else { return };
    server.wait_output("TEST");
    assert_eq!(printed(&server), ["1", "2", "3", "4", "TEST"]);
    assert_eq!(printed(&server), under_node("order", "TEST"));
    server.finish();
}

#[test]
fn a_primary_sets_up_a_worker_that_is_a_script_of_its_own() {
    let Some(worker) = built("js/build/node/divided-worker.wasm") else { return };
    let worker = format!("divided-worker={worker}");
    let Some(server) = start("divided", &["--setup-plugin", &worker]) else { return };
    wait_for("two messages", || (server.stdout.count("worker") >= 2).then_some(()));
    assert!(printed(&server).iter().all(|line| line == "worker"), "{:?}", printed(&server));
    server.finish();
}

#[test]
fn the_primary_tells_code_signal_and_success_apart() {
    let flags = ["--env", "FAIL=throw exit abort none", "--env", "FAIL_AFTER=200"];
    let Some(mut server) = start("failing", &flags) else { return };
    server.wait_output("worker exited with error code: 1");
    server.wait_output("worker exited with error code: 3");
    server.wait_output("worker was killed by signal: SIGABRT");
    server.wait_output("worker success!");
    server.wait_line("Error: the worker fails, as it was told to");
    // As in Node: without workers and timers the primary has nothing left to do.
    assert_eq!(server.wait_end().code(), Some(0));
}

#[test]
fn workers_that_exit_after_their_request_leave_nobody_or_are_forked_again() {
    let flags = ["--balance", "round-robin", "--env", "EXIT_AFTER=20"];
    let Some(server) = start("exit-each", &flags) else { return };
    wait_for("eight workers", || (server.serving_ids().len() == 8).then_some(()));
    let answers: BTreeSet<String> = (0..8).map(|_| server.get("/").text()).collect();
    assert_eq!(answers.len(), 8, "each worker answers once: {answers:?}");
    server.wait_output("0 workers are left");
    wait_for("connections to be refused", || TcpStream::connect(server.address()).err());
    drop(server);

    let flags = [&flags[..], &["--env", "REFORK=1"]].concat();
    let Some(server) = start("exit-each", &flags) else { return };
    for _ in 0..12 {
        assert!(server.get("/").text().starts_with("hello world from "));
    }
    server.finish();
}

#[test]
fn all_requests_of_a_worker_share_the_scripts_variables() {
    let Some(server) = start("server", &[]) else { return };
    let mut clients: Vec<Connection> = (0..3).map(|_| server.connect()).collect();
    let counts: Vec<String> =
        clients.iter_mut().map(|client| client.get("/count").text()).collect();
    assert_eq!(counts, ["1\n", "2\n", "3\n"]);
    // One that waits holds up nobody.
    clients[0].send("GET /late HTTP/1.1\r\nhost: a\r\nx-wait: 400\r\n\r\n");
    assert_eq!(clients[1].get("/count").text(), "5\n");
    assert!(clients[0].is_silent());
    assert_eq!(clients[0].response().text(), "late\n");
    server.finish();
}

#[test]
fn bodies_come_in_both_framings_and_answers_in_pieces() {
    let Some(server) = start("server", &[]) else { return };
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel");
    client.send("lo");
    assert_eq!(client.response().text(), "hello");
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r");
    client.send("\n2;x=y\r\nlo\r\n0\r\na: b\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    let answer = client.get("/pieces");
    assert_eq!(
        (answer.text().as_str(), answer.header("content-type")),
        ("one two three\n", Some("text/plain"))
    );
    // Two at once are answered one after the other.
    client.send("GET /count HTTP/1.1\r\nhost: a\r\n\r\nGET /nothing HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().text(), "4\n");
    assert_eq!(client.response().status(), 404);
    server.finish();
}

#[test]
fn malformed_requests_are_refused_and_end_their_connection() {
    let Some(server) = start("server", &[]) else { return };
    for (request, status) in [
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad header: x\r\n\r\n", 400),
        (
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
    ] {
        let mut client = server.connect();
        client.send(request);
        let answer = client.response();
        assert_eq!(answer.status(), status, "{request:?}");
        assert!(client.rest().is_empty(), "{request:?}");
    }
    assert_eq!(server.get("/nothing").status(), 404);
    server.finish();
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_given_up() {
    let Some(server) = start("server", &["--env", "HEADERS_TIMEOUT=200"]) else { return };
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nhost: ");
    assert_eq!(client.response().status(), 408);
    assert!(client.rest().is_empty());
    assert_eq!(server.get("/nothing").status(), 404);
    server.finish();
}

#[test]
fn an_error_that_nobody_catches_ends_its_worker_and_says_where() {
    for (path, error) in [("/throw", "nobody catches this"), ("/reject", "nobody awaits this")] {
        let Some(mut server) = start("server", &[]) else { return };
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        server.wait_line(&format!("Error: {error}"));
        server.wait_line("worker 1 exited with code 1");
        assert_eq!(server.wait_end().code(), Some(0));
    }
}

#[test]
fn a_script_starts_programs_and_hears_of_them_as_under_node() {
    let flags = ["--program", "sh=/bin/sh", "--program", "cat=/bin/cat"];
    let Some(mut server) = start("children", &flags) else { return };
    assert_eq!(server.wait_end().code(), Some(0));
    let mut lines = [printed(&server), under_node("children", "never printed")];
    // Which child is done first is up to the machine.
    lines.iter_mut().for_each(|lines| lines.sort());
    assert_eq!(lines[0].len(), 6, "{lines:?}");
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn an_idle_connection_survives_a_reload() {
    let Some(mut server) = start("server", &[]) else { return };
    let mut client = server.connect();
    assert_eq!(client.get("/count").text(), "1\n");
    assert_eq!(client.get("/count").text(), "2\n");
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    // A new process has variables of its own.
    wait_for("the new worker", || (client.get("/count").text() == "1\n").then_some(()));
    server.finish();
}
