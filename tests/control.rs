//! A running host is told what to do: over its control socket, and by signals.

use crate::support::load::{Load, Style, Tally};
use crate::support::log::Log;
use crate::support::once::{self, assert_one_line};
use crate::support::{Scratch, Server, place, plugin, process, wait_for};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

fn start(workers: &str, flags: &[&str]) -> Server {
    Server::serving("hello", &[&["--workers", workers][..], flags].concat())
}

/// No request failed, and no keep-alive connection was closed.
fn assert_untouched(tally: &Tally) {
    let Tally { answered, bad_status, unanswered, broken, refused, closed } = *tally;
    assert_eq!((bad_status, unanswered, broken, refused, closed), (0, 0, 0, 0, 0), "{tally:?}");
    assert!(answered > 0);
}

#[test]
fn scaling_and_restarting_under_load_lose_no_request_and_no_connection() {
    for style in [Style::KeepAlive, Style::Fresh] {
        let server = start("2", &[]);
        let load = Load::start(server.address(), "/", style, 8);
        load.wait_answers(200);
        assert_eq!(server.tell(&["scale", "4"]), "4 workers");
        assert_eq!(server.serving_ids(), [1, 2, 3, 4]);
        load.wait_answers(200);
        assert_eq!(server.tell(&["restart", "2"]), "worker 2 was replaced");
        assert_eq!(server.serving_ids(), [1, 3, 4, 5]);
        assert_eq!(server.tell(&["scale", "-3"]), "1 worker");
        load.wait_answers(200);
        wait_for("the others to end", || (server.workers().len() == 1).then_some(()));
        assert_eq!(server.tell(&["scale", "+1"]), "2 workers");
        assert_eq!(server.tell(&["reload"]).split(" serving").next(), Some("generation 2"));
        load.wait_answers(200);
        assert_untouched(&load.stop());
        server.finish();
    }
}

#[test]
fn scaling_works_when_the_workers_accept_themselves() {
    for policy in ["shared", "reuseport"] {
        let server = start("3", &["--balance", policy]);
        let load = Load::start(server.address(), "/", Style::Fresh, 4);
        load.wait_answers(100);
        server.tell(&["scale", "1"]);
        wait_for("the others to end", || (server.workers().len() == 1).then_some(()));
        load.wait_answers(100);
        server.tell(&["scale", "3"]);
        load.wait_answers(100);
        let tally = load.stop();
        assert_eq!((tally.bad_status, tally.refused), (0, 0), "{policy}: {tally:?}");
        assert_eq!((tally.unanswered, tally.broken), (0, 0), "{policy}: {tally:?}");
        server.finish();
    }
}

#[test]
fn signals_add_and_remove_a_worker() {
    let server = start("1", &[]);
    server.signal(Signal::SIGTTIN);
    wait_for("a second worker", || (server.serving_ids() == [1, 2]).then_some(()));
    server.signal(Signal::SIGTTOU);
    wait_for("one worker", || (server.serving_ids() == [1]).then_some(()));
    server.signal(Signal::SIGTTOU);
    server.wait_line("at least 1 worker has to stay");
    server.finish();
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let server = start("1", &[]);
    for (args, words) in [
        (&["scale", "0"][..], "at least 1 worker has to stay"),
        (&["scale", "100000"], "give at most 1024"),
        (&["scale", "many"], "write N, +N or -N"),
        (&["restart", "77"], "worker 77: no such worker"),
        (&["reload", "--plugin", "/nowhere.wasm"], "No such file"),
        (&["reload", "--pool", "x"], "no pool x; there is hello"),
        (&["upgrade", "--binary", "/bin/false"], "it has ended"),
    ] {
        assert_one_line(&server.command(args), 1, &[words]);
    }
    assert_eq!(server.serving_ids(), [1]);
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_reload_takes_the_plugin_it_is_given_and_says_when_it_is_done() {
    let server = start("2", &[]);
    let said = server.tell(&["reload", "--plugin", &plugin("fixture"), "--format", "json"]);
    assert!(said.starts_with(r#"{"ok":"generation 2 serving after "#), "{said}");
    assert_eq!(server.get("/").text(), "fixture\n");
    let bad = place::wat("no-handler");
    let ended = server.command(&["reload", "--plugin", &bad]);
    assert_eq!(ended.code, Some(1), "{:?}", ended.stderr);
    assert_eq!(server.get("/").text(), "fixture\n");
    assert_eq!(server.status()["pools"][0]["reloads"]["failed"], 1);
    server.finish();
}

#[test]
fn operations_during_a_reload_wait_for_it() {
    let flags = ["--workers", "2", "--health-path", "/slow?ms=500"];
    let server = Server::serving("fixture", &flags);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| server.tell(&["reload"]));
        server.wait_line("reload: generation 2 starting");
        let scale = scope.spawn(|| server.tell(&["scale", "3"]));
        server.wait_line("a reload is in progress; doing this after it");
        assert!(reload.join().unwrap().starts_with("generation 2 serving"));
        assert_eq!(scale.join().unwrap(), "3 workers");
    });
    assert_eq!(server.serving_ids(), [3, 4, 5]);
    server.finish();
}

#[test]
fn hosts_are_found_by_name_and_nothing_is_guessed() {
    let runtime = Scratch::new();
    let run = |args: &[&str]| {
        let mut command = Command::new(place::HOST);
        command.env("XDG_RUNTIME_DIR", runtime.path());
        once::run_command(command, args)
    };
    assert_one_line(&run(&["status"]), 3, &["no host is running"]);
    assert_one_line(&run(&["status", "--name", "x"]), 3, &["no host named x is running"]);
    let socket = runtime.at("no.sock");
    assert_one_line(&run(&["stop", "--control", &socket]), 3, &["no host answers at", "no.sock"]);
    std::fs::create_dir_all(runtime.path().join("host")).unwrap();
    std::fs::set_permissions(runtime.path().join("host"), PermissionsExt::from_mode(0o700))
        .unwrap();
    let first = Server::serving("hello", &["--name", "a", "--control", &runtime.at("host/a.sock")]);
    let second =
        Server::serving("hello", &["--name", "b", "--control", &runtime.at("host/b.sock")]);
    assert_one_line(&run(&["status"]), 1, &["2 hosts are running: a, b; choose one with --name"]);
    let listed = run(&["ls", "--format", "json"]).stdout.join("");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed[0]["name"].as_str(), listed[1]["name"].as_str()), (Some("a"), Some("b")));
    assert_eq!(run(&["scale", "2", "--name", "b"]).code, Some(0));
    drop(first);
    // What a killed host leaves behind is neither listed nor in the way.
    assert_eq!(run(&["ls"]).stdout.len(), 2);
    second.finish();
    assert!(!runtime.path().join("host/b.sock").exists());
}

#[test]
fn a_second_host_of_the_same_plugin_gets_a_name_of_its_own_and_a_taken_name_is_refused() {
    let runtime = Scratch::new();
    let command = |args: &[&str]| {
        let mut command = Command::new(place::HOST);
        command.env("XDG_RUNTIME_DIR", runtime.path());
        once::run_command(command, args)
    };
    let control = runtime.at("c.sock");
    let server = Server::serving("hello", &["--control", &control]);
    let refused = command(&[
        "serve",
        "--plugin",
        &plugin("hello"),
        "--listen",
        "127.0.0.1:0",
        "--control",
        &control,
    ]);
    assert_one_line(&refused, 1, &["a host runs there"]);
    server.finish();
}

#[test]
fn stop_drains_and_returns_when_the_host_is_gone() {
    let mut server = Server::serving("fixture", &[]);
    let mut busy = server.connect();
    busy.send("GET /slow?ms=300 HTTP/1.1\r\nhost: x\r\n\r\n");
    wait_for("the request", || {
        let started = &server.status()["pools"][0]["workers"][0]["counters"]["requests_started"];
        (started == 1).then_some(())
    });
    let socket = server.socket("fixture");
    assert_eq!(server.tell(&["stop"]), "fixture stops");
    assert!(!socket.exists());
    assert_eq!(busy.response().status(), 200);
    assert_eq!(server.wait_end().code(), Some(0));
    let mut server = Server::serving("fixture", &[]);
    let mut busy = server.connect();
    busy.send("GET /slow?ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n");
    let start = Instant::now();
    server.tell(&["stop", "--now"]);
    server.wait_end();
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// A command that goes on, and its lines.
fn follow(server: &Server, args: &[&str]) -> (Child, ChildStdout) {
    let mut child = server.client().args(args).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

#[test]
fn events_tell_the_life_of_every_worker_in_order() {
    let server = start("1", &[]);
    let (mut child, lines) = follow(&server, &["events"]);
    let log = Log::default();
    let reader = log.follow(lines);
    wait_for("an event", || {
        server.tell(&["reload"]);
        (!log.lines().is_empty()).then_some(())
    });
    // From here on it has seen everything.
    server.tell(&["reload"]);
    wait_for("one worker", || (server.workers().len() == 1).then_some(()));
    let (id, pid) = server.workers_by_id()[0];
    process::signal(pid, Signal::SIGKILL);
    let about = |worker: u32| {
        let events = log.lines().into_iter().map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(event["pool"], "hello");
            assert!(event["time"].as_u64().unwrap() > 1_600_000_000_000);
            event
        });
        let events = events.filter(|event| event["worker"] == worker);
        events.map(|event| event["event"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    wait_for("its successor", || (about(id + 1) == ["fork", "online", "listening"]).then_some(()));
    assert_eq!(about(id), ["fork", "online", "listening", "disconnect", "exit"]);
    let exit = format!(r#""event":"exit","worker":{id},"code":null,"signal":"SIGKILL""#);
    assert_eq!(log.count(&exit), 1, "{:?}", log.lines());
    server.finish();
    // The command ends with its host.
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
    assert!(log.count("stopping") == 1);
}

#[test]
fn logs_show_what_workers_printed_and_follow() {
    let server = Server::serving("fixture", &["--workers", "2"]);
    server.get("/stdout?text=first");
    server.wait_output("first");
    let all = server.tell(&["logs"]);
    assert!(all.contains("host: serving") && all.contains("first"), "{all}");
    let (mut child, stdout) = follow(&server, &["logs", "-f"]);
    let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("a line"));
    assert!(lines.any(|line| line.contains("first")));
    server.get("/stdout?text=second");
    assert!(lines.any(|line| line.contains("second")));
    let one = server.tell(&["logs", "--worker", "1"]);
    assert!(one.lines().all(|line| line.starts_with("[worker 1] ")), "{one}");
    child.kill().unwrap();
    child.wait().unwrap();
    server.finish();
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = once::run(&["completions", shell]);
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.iter().any(|line| line.contains("reload")), "{shell}");
    }
}
