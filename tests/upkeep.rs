//! Workers are replaced in time, files are watched, logs are rotated.

use crate::support::load::{Load, Style};
use crate::support::{Scratch, Server, plugin, wait_for};
use nix::sys::signal::Signal;

#[test]
fn a_worker_is_replaced_after_its_share_of_requests_without_losing_any() {
    let server = Server::serving("hello", &["--workers", "2", "--max-requests", "300"]);
    let load = Load::start(server.address(), "/", Style::KeepAlive, 4);
    server.wait_line("requests; replacing it");
    wait_for("both to be replaced", || {
        (server.workers_by_id().iter().all(|(id, _)| *id > 2)).then_some(())
    });
    load.wait_answers(100);
    let tally = load.stop();
    assert_eq!((tally.bad_status, tally.unanswered, tally.broken), (0, 0, 0), "{tally:?}");
    assert_eq!(server.status()["pools"][0]["restarts"], 0, "nobody died");
    server.finish();
}

#[test]
fn a_worker_that_grows_too_large_is_replaced() {
    let flags = ["--max-worker-memory", "150M", "--max-instance-reuse-count", "0"];
    let server = Server::serving("fixture", &flags);
    server.get("/grow?mib=180");
    let line = server.wait_line("MiB resident; replacing it");
    assert!(line.contains("worker 1 has "), "{line}");
    wait_for("a successor", || (server.workers_by_id().first()?.0 > 1).then_some(()));
    assert_eq!(server.get("/").status(), 200);
    server.finish();
}

#[test]
fn watch_reloads_when_the_file_is_replaced_or_rewritten_and_survives_a_bad_one() {
    let scratch = Scratch::new();
    let path = scratch.write("app.wasm", std::fs::read(plugin("hello")).unwrap());
    let mut server = Server::start(&["--plugin", &path, "--watch", "--workers", "1"]);
    let fixture = std::fs::read(plugin("fixture")).unwrap();
    scratch.write("new.wasm", &fixture);
    std::fs::rename(scratch.at("new.wasm"), &path).unwrap();
    server.wait_ready(2);
    assert_eq!(server.get("/").text(), "fixture\n");
    scratch.write("app.wasm", b"not wasm at all");
    server.wait_line("generation 2 keeps serving");
    assert_eq!(server.get("/").text(), "fixture\n");
    scratch.write("app.wasm", std::fs::read(plugin("hello")).unwrap());
    wait_for("the new file", || (server.get("/").text() == "hello world\n").then_some(()));
    server.finish();
}

#[test]
fn sigusr1_goes_on_in_a_new_log_file() {
    let scratch = Scratch::new();
    let log = scratch.at("access.log");
    let server = Server::serving("hello", &["--access-log", &format!("combined:{log}")]);
    let has = |path: &str, part: &str| {
        wait_for(part, || std::fs::read_to_string(path).ok()?.contains(part).then_some(()))
    };
    server.get("/before");
    has(&log, "/before");
    std::fs::rename(&log, scratch.at("old.log")).unwrap();
    server.get("/between");
    has(&scratch.at("old.log"), "/between");
    server.signal(Signal::SIGUSR1);
    server.wait_line("reopened the access log");
    server.get("/after");
    has(&log, "/after");
    assert!(!std::fs::read_to_string(scratch.at("old.log")).unwrap().contains("/after"));
    server.finish();
}
