//! Messages between workers and the primary program: order, limits, replies, ends.

use super::with_primary;
use crate::support::{Server, process, wait_for};
use nix::sys::signal::Signal;

fn start(flags: &[&str]) -> Server {
    with_primary("probe_primary", "probe", flags)
}

fn position(lines: &[String], line: &str) -> usize {
    let found = lines.iter().position(|known| known == line);
    found.unwrap_or_else(|| panic!("no {line:?} in {lines:#?}"))
}

#[test]
fn events_come_in_nodes_order_and_messages_before_the_end() {
    let server = start(&["--workers", "1"]);
    // It sends, and is dead before its answer.
    let mut client = server.connect();
    client.send("GET /die/500 HTTP/1.1\r\nhost: a\r\n\r\n");
    server.wait_output("exit 1 signal SIGABRT told false");
    let lines = server.stdout.lines();
    let expected = [
        "fork 1",
        "online 1",
        "listening 1",
        "disconnect 1 after 500",
        "exit 1 signal SIGABRT told false",
    ];
    let at = expected.map(|line| position(&lines, line));
    assert!(at.is_sorted(), "{lines:#?}");
    // Another takes its place.
    server.wait_output("listening 2");
    server.finish();
}

#[test]
fn a_flood_arrives_whole_and_in_order() {
    let server = start(&["--workers", "1"]);
    assert_eq!(server.get("/flood/20000").text(), "sent");
    assert!(server.get("/tell/done").text() == "sent");
    server.wait_output("message of 6 bytes");
    server.get("/tell/disconnect");
    server.wait_output("disconnect 1 after 20000");
    server.wait_output("exit 1 code 0 told true");
    assert_eq!(server.stdout.count("fork 2"), 0);
}

#[test]
fn a_request_gets_its_reply_once() {
    let server = start(&["--workers", "1"]);
    assert_eq!(server.get("/ask/cold").text(), "cold it is");
    server.wait_output("replied Ok(()) then Err(NoSuchRequest)");
    server.finish();
}

#[test]
fn an_oversize_message_is_an_error_and_nothing_is_sent() {
    let server = start(&["--workers", "1", "--max-message-size", "1000"]);
    assert_eq!(server.get("/size/1000").text(), "sent");
    assert_eq!(server.get("/size/1001").text(), "message exceeds 1000 bytes");
    server.wait_output("message of 1000 bytes");
    assert_eq!(server.stdout.count("message of"), 1);
    server.finish();
}

#[test]
fn a_message_of_the_default_limit_passes() {
    let server = start(&["--workers", "1"]);
    assert_eq!(server.get("/size/1048576").text(), "sent");
    server.wait_output("message of 1048576 bytes");
    server.finish();
}

#[test]
fn a_worker_that_never_was_is_an_error() {
    let server = start(&["--workers", "1"]);
    server.wait_output("send to 99: no worker has this number");
    server.wait_output("worker 99: Some(ClusterError::UnknownWorker)");
    server.wait_output("environment: Some(ClusterError::Invalid(");
    server.finish();
}

#[test]
fn without_a_primary_program_nothing_is_connected() {
    let server = Server::serving("probe", &[]);
    assert_eq!(server.get("/connected").text(), "false");
    assert_eq!(server.get("/tell/hello").text(), "no channel to the other side");
    server.finish();
}

#[test]
fn exit_ends_the_worker_with_its_code() {
    let server = start(&["--workers", "1"]);
    let mut client = server.connect();
    client.send("GET /exit/3 HTTP/1.1\r\nhost: a\r\n\r\n");
    server.wait_output("exit 1 code 3 told false");
    server.wait_line("worker 1 exited with code 3; restarting it now");
    server.finish();
}

#[test]
fn a_program_forks_and_the_workers_it_forks_are_not_replaced() {
    let server = start(&["--workers", "manual"]);
    server.wait_output("listening 1");
    server.get("/tell/fork");
    server.wait_output("listening 2");
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_output("exit 1 signal SIGKILL told false");
    assert!(server.get("/pid").text().parse::<u32>().is_ok());
    assert_eq!(server.stdout.count("fork 3"), 0);
    server.finish();
}

#[test]
fn a_program_reloads_and_stops_the_host() {
    let mut server = start(&["--workers", "1"]);
    server.get("/tell/reload");
    server.wait_ready(2);
    server.wait_output("exit 1 code 0 told true");
    server.get("/tell/stop");
    assert_eq!(server.wait_end().code(), Some(0));
    assert_eq!(server.stdout.lines().last().map(String::as_str), Some("over"));
}

#[test]
fn a_program_that_does_not_read_holds_back_its_senders_and_nobody_else() {
    let server = start(&["--workers", "1", "--drain-timeout", "2s", "--", "deaf"]);
    let mut flood = server.connect();
    flood.send("GET /flood/100000 HTTP/1.1\r\nhost: a\r\n\r\n");
    // A full queue makes that request wait, but none that sends nothing.
    for _ in 0..20 {
        assert_eq!(server.get("/connected").text(), "true");
    }
    let host = process::peak_memory_kib(server.pid());
    assert!(host < 100 << 10, "the primary grew to {host} KiB");
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_line("worker 2 ready");
    wait_for("an answer", || (server.get("/connected").text() == "true").then_some(()));
    server.finish();
}
