//! A new generation takes over without a client noticing.

use crate::support::load::{Load, Style};
use crate::support::{Scratch, Server, plugin, wait_for};
use nix::sys::signal::Signal;

#[test]
fn reloading_under_load_fails_no_request_and_closes_no_connection() {
    for style in [Style::KeepAlive, Style::Fresh] {
        let mut server = Server::serving("hello", &["--workers", "2"]);
        let load = Load::start(server.address(), "/", style, 8);
        for generation in 2..=6 {
            load.wait_answers(50);
            server.signal(Signal::SIGHUP);
            server.wait_ready(generation);
        }
        load.wait_answers(200);
        let tally = load.stop();
        let lost = (tally.bad_status, tally.unanswered, tally.broken, tally.refused, tally.closed);
        assert_eq!(lost, (0, 0, 0, 0, 0), "{style:?} {tally:?}");
        server.finish();
    }
}

#[test]
fn an_idle_connection_moves_to_the_new_generation_and_its_plugin() {
    let scratch = Scratch::new();
    let path = scratch.write("app.wasm", std::fs::read(plugin("hello")).unwrap());
    let mut server = Server::start(&["--plugin", &path, "--workers", "1"]);
    let mut idle = server.connect();
    assert_eq!(idle.get("/").text(), "hello world\n");
    scratch.write("app.wasm", std::fs::read(plugin("fixture")).unwrap());
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    // The old worker may still answer until it hears that it is to drain.
    wait_for("the new plugin on the old connection", || {
        (idle.get("/").text() == "fixture\n").then_some(())
    });
    server.finish();
}

#[test]
fn a_plugin_that_cannot_take_over_leaves_the_running_one_alone() {
    let scratch = Scratch::new();
    let path = scratch.write("app.wasm", std::fs::read(plugin("hello")).unwrap());
    let server = Server::start(&["--plugin", &path, "--workers", "1"]);
    for bad in [&b"not wasm"[..], &std::fs::read(plugin("start-trap")).unwrap()] {
        scratch.write("app.wasm", bad);
        server.signal(Signal::SIGHUP);
        server.wait_line("generation 1 keeps serving");
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    server.finish();
}

#[test]
fn a_generation_whose_health_path_answers_an_error_does_not_take_over() {
    let flags = ["--health-path", "/status?code=503", "--workers", "1"];
    let server = Server::serving("fixture", &flags);
    server.signal(Signal::SIGHUP);
    let line = server.wait_line("generation 1 keeps serving");
    assert!(line.contains("/status?code=503 answered 503"), "{line}");
    server.finish();
}
