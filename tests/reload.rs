//! A new generation takes over without a client noticing.

use crate::support::http::get_request;
use crate::support::load::{Load, Style};
use crate::support::{Scratch, Server, h2, plugin, process, wait_for};
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

#[test]
fn a_generation_that_keeps_dying_is_rolled_back() {
    let server = Server::serving("hello", &["--workers", "1"]);
    server.tell(&["reload", "--plugin", &plugin("fixture")]);
    wait_for("the new plugin", || (server.get("/").text() == "fixture\n").then_some(()));
    let mut dead = Vec::new();
    for _ in 0..3 {
        let worker = wait_for("a worker of the new generation", || {
            let found = server.status()["pools"][0]["workers"][0].clone();
            let pid = found["pid"].as_u64().filter(|pid| !dead.contains(pid))?;
            (found["generation"] == 2 && found["state"] == "serving").then_some(pid)
        });
        dead.push(worker);
        process::signal(worker as u32, Signal::SIGKILL);
    }
    server.wait_line("generation 2 crash-loops; rolling back to generation 1");
    server.wait_line("generation 3");
    wait_for("the old plugin", || (server.get("/").text() == "hello world\n").then_some(()));
    assert_eq!(server.status()["pools"][0]["reloads"]["rolled_back"], 1);
    server.finish();
}

#[test]
fn of_reloads_that_wait_for_one_the_last_wins() {
    let server = Server::serving("fixture", &["--workers", "1", "--health-path", "/slow?ms=1000"]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.tell(&["reload"]));
        server.wait_line("reload: generation 2 starting");
        let second = scope.spawn(|| server.command(&["reload"]));
        server.wait_line("reload queued behind the one in progress");
        let third = scope.spawn(|| server.tell(&["reload"]));
        let second = second.join().unwrap();
        assert_eq!(second.code, Some(1));
        assert!(second.stderr[0].contains("superseded by a later reload"), "{:?}", second.stderr);
        assert!(first.join().unwrap().starts_with("generation 2 serving"));
        assert!(third.join().unwrap().starts_with("generation 3 serving"));
    });
    server.finish();
}

#[test]
fn an_http2_connection_finishes_its_request_and_is_told_to_go() {
    let mut server = Server::serving("fixture", &["--workers", "1"]);
    let address = server.address();
    let (status, server) = h2::held(address, "/slow?ms=1000", move || {
        wait_for("the request to be served", || {
            let instances = &server.status()["pools"][0]["workers"][0]["instances"];
            instances.as_u64().filter(|count| *count > 0)
        });
        server.signal(Signal::SIGHUP);
        server.wait_ready(2);
        server
    });
    assert_eq!(status, 200);
    server.finish();
}

#[test]
fn a_rolling_reload_has_one_worker_more_at_a_time() {
    let flags = ["--workers", "3", "--balance", "round-robin", "--reload", "rolling"];
    let server = Server::serving("fixture", &flags);
    let answer = |number: usize| format!("/drip?pieces={}&ms=600", number + 1);
    // Each worker has a request that keeps it from ending at once.
    let mut slow: Vec<_> = (1..=3).map(|_| server.connect()).collect();
    slow.iter_mut().enumerate().for_each(|(n, client)| client.send(get_request(&answer(n))));
    let heads: Vec<_> = slow.iter_mut().map(|client| client.head()).collect();
    let mut most = 0;
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| server.tell(&["reload"]));
        wait_for("the end of the reload", || {
            most = most.max(server.workers().len());
            reload.is_finished().then_some(())
        });
    });
    assert_eq!(most, 4);
    for (client, head) in slow.iter_mut().zip(&heads) {
        client.try_body(head, |_| {}).expect("the rest of the slow answer");
    }
    server.finish();
}

#[test]
fn a_request_that_has_only_begun_is_answered_by_whoever_serves_when_it_is_whole() {
    let mut server = Server::serving("hello", &["--workers", "1"]);
    let mut slow = server.connect();
    slow.send("GET / HTTP/1.1\r\nhost: slow\r\nx-half: ");
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    slow.send("done\r\n\r\n");
    let answer = slow.response();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello world\n"));
    assert!(!answer.head.closes());
    assert_eq!(slow.get("/").status(), 200);
    server.finish();
}
