//! Workers die and are replaced; the host stops as it is asked to.

use crate::support::http::get_request;
use crate::support::load::{Load, Style};
use crate::support::place::HOST;
use crate::support::{Connection, Server, once, plugin, process, wait_for};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

fn start(name: &str, workers: &str, flags: &[&str]) -> Server {
    Server::serving(name, &[&["--workers", workers][..], flags].concat())
}

#[test]
fn a_killed_worker_is_replaced_under_a_new_id() {
    let server = start("hello", "2", &[]);
    let before = server.workers_by_id();
    process::signal(before[0].1, Signal::SIGKILL);
    let line = server.wait_line("worker 1 was killed by SIGKILL");
    assert!(line.starts_with("host: "), "{line}");
    server.wait_line("worker 3 ready");
    let after = server.workers_by_id();
    assert_eq!(after[0], before[1], "the other worker was touched");
    assert_eq!(after[1].0, 3);
    assert!(!process::has_zombies(server.pid()));
    for _ in 0..10 {
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    server.finish();
}

#[test]
fn killing_a_worker_under_load_costs_only_what_it_had_in_flight() {
    for style in [Style::KeepAlive, Style::Fresh] {
        let clients = 8;
        let server = start("hello", "2", &[]);
        let load = Load::start(server.address(), "/", style, clients);
        load.wait_answers(500);
        process::signal(server.workers()[0], Signal::SIGKILL);
        server.wait_line("worker 3 ready");
        load.wait_answers(500);
        let tally = load.stop();
        assert_eq!((tally.bad_status, tally.refused), (0, 0), "{tally:?}");
        assert!(tally.unanswered + tally.broken <= clients as u64, "{tally:?}");
        server.finish();
    }
}

#[test]
fn connections_a_dead_worker_had_not_read_are_given_to_another() {
    let server = start("hello", "1", &[]);
    let worker = server.workers()[0];
    // It cannot read what it is given while it is stopped.
    process::signal(worker, Signal::SIGSTOP);
    let mut waiting: Vec<Connection> = (0..10).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|connection| connection.send(get_request("/")));
    process::signal(worker, Signal::SIGKILL);
    for connection in &mut waiting {
        assert_eq!(connection.response().text(), "hello world\n");
    }
    server.finish();
}

#[test]
fn a_worker_that_keeps_dying_is_restarted_more_and_more_slowly_and_said_to_loop() {
    let server = start("hello", "1", &[]);
    for id in 1..=5 {
        let found = wait_for("the next worker", || {
            server.workers_by_id().into_iter().find(|(found, _)| *found == id)
        });
        process::signal(found.1, Signal::SIGKILL);
    }
    server.wait_line("(crash loop)");
    wait_for("service again", || (server.workers_by_id().last()?.0 > 5).then_some(()));
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn killing_the_primary_leaves_no_process() {
    let mut server = start("hello", "3", &[]);
    let workers = server.workers();
    assert_eq!(workers.len(), 3);
    server.signal(Signal::SIGKILL);
    server.wait_end();
    for worker in workers {
        wait_for("the workers to die too", || (!process::is_alive(worker)).then_some(()));
    }
}

#[test]
fn stopping_finishes_what_is_in_flight() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for name in ["fixture", "fixture-async"] {
            let mut server = start(name, "2", &[]);
            let mut open: Vec<Connection> = (0..6).map(|_| server.connect()).collect();
            open.iter_mut().for_each(|c| c.send(get_request("/drip?pieces=3&ms=150")));
            let heads: Vec<_> = open.iter_mut().map(Connection::head).collect();
            server.signal(signal);
            for (connection, head) in open.iter_mut().zip(&heads) {
                let mut body = Vec::new();
                let collect = |piece: &[u8]| body.extend_from_slice(piece);
                connection.try_body(head, collect).expect("the whole answer");
                assert_eq!(body, b"piece 0\npiece 1\npiece 2\n");
            }
            assert_eq!(server.wait_end().code(), Some(0));
        }
    }
}

#[test]
fn stopping_under_load_fails_no_request_that_was_accepted() {
    for style in [Style::KeepAlive, Style::Fresh] {
        let clients = 8;
        let mut server = start("hello", "2", &[]);
        let load = Load::start(server.address(), "/", style, clients);
        load.wait_answers(500);
        server.signal(Signal::SIGTERM);
        let tally = load.join();
        assert_eq!((tally.bad_status, tally.broken), (0, 0), "{tally:?}");
        if style == Style::Fresh {
            assert_eq!(tally.unanswered, 0, "{tally:?}");
        }
        assert_eq!(server.wait_end().code(), Some(0));
    }
}

#[test]
fn stopping_closes_idle_connections_and_says_close_to_the_others() {
    let mut server = start("fixture", "1", &[]);
    let mut idle = server.connect();
    assert_eq!(idle.get("/").status(), 200);
    let mut busy = server.connect();
    busy.send(get_request("/slow?ms=400"));
    // Its turn has come when the fixture has printed something for a later request.
    assert_eq!(server.get("/stdout").status(), 200);
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(idle.rest(), b"");
    let answer = busy.response();
    assert_eq!((answer.status(), answer.head.closes()), (200, true), "{answer:?}");
    assert_eq!(server.wait_end().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    assert!(Connection::try_open(server.address()).is_err(), "somebody still listens");
}

#[test]
fn stopping_has_a_deadline() {
    let mut server = start("fixture", "1", &["--drain-timeout", "300ms"]);
    let mut endless = server.connect();
    endless.send(get_request("/drip?pieces=1000&ms=1000"));
    endless.head();
    server.signal(Signal::SIGTERM);
    let start = Instant::now();
    assert_eq!(server.wait_end().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
}

#[test]
fn a_second_signal_or_sigquit_stops_at_once() {
    for signals in [&[Signal::SIGTERM, Signal::SIGINT][..], &[Signal::SIGQUIT]] {
        let mut server = start("fixture", "2", &[]);
        let mut endless = server.connect();
        endless.send(get_request("/drip?pieces=1000&ms=1000"));
        endless.head();
        for signal in signals {
            server.signal(*signal);
            if *signal == Signal::SIGTERM {
                server.wait_line("stopping");
            }
        }
        let start = Instant::now();
        server.wait_end();
        assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
    }
}

#[test]
fn nobody_wakes_up_while_there_is_nothing_to_do() {
    for name in ["hello", "hello-async"] {
        let server = start(name, "2", &["--watch"]);
        assert_eq!(server.get("/").text(), "hello world\n");
        let all: Vec<u32> = server.workers().into_iter().chain([server.pid()]).collect();
        process::wait_quiet(&all);
        server.finish();
    }
}

#[test]
fn running_out_of_descriptors_is_survived() {
    // `$0` is the host, `$@` its arguments.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\"", HOST]);
    let server = Server::start_command(shell, &["--plugin", &plugin("hello"), "--workers", "2"]);
    let flood: Vec<Connection> = (0..400).map(|_| server.connect()).collect();
    drop(flood);
    wait_for("service as before", || {
        let mut connection = Connection::try_open(server.address()).ok()?;
        connection.try_send(get_request("/")).ok()?;
        let answer = connection.try_response().ok()??;
        (answer.text() == "hello world\n").then_some(())
    });
    assert!(!process::has_zombies(server.pid()));
    server.finish();
}

#[test]
fn workers_run_as_the_user_that_is_named() {
    if !nix::unistd::geteuid().is_root() {
        let flags = ["--plugin", &plugin("hello"), "--user", "root"];
        once::refused(&flags, &["not permitted"]);
        return;
    }
    let server = start("hello", "2", &["--user", "nobody"]);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("a user nobody").uid;
    for pid in server.workers().into_iter().chain([server.pid()]) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        let mut uids = uids.split_whitespace().map(|uid| uid.parse::<u32>().unwrap());
        assert!(uids.all(|uid| uid == nobody.as_raw()), "{}: {status}", process::title(pid));
    }
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_stop_before_anything_is_ready_is_a_stop() {
    let mut server = Server::launch(&["--plugin", &plugin("fixture"), "--no-cache"]);
    wait_for("its first child", || (!process::children(server.pid()).is_empty()).then_some(()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_end().code(), Some(0));
}
