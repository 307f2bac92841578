//! What the primary program sees, in which order, and who may be one.

use super::printed;
use crate::support::once::refused;
use crate::support::{Server, plugin, process, wait_for};
use nix::sys::signal::Signal;

fn watched(name: &str, flags: &[&str]) -> Server {
    let primary = plugin("cluster_fixture_primary");
    Server::serving(name, &[&["--primary", &primary][..], flags].concat())
}

/// The lines of one worker, by their first word.
fn events_of(server: &Server, worker: u32) -> Vec<String> {
    let lines = printed(server);
    let mine = lines.iter().filter(|line| line.split(' ').nth(1) == Some(&worker.to_string()));
    let names = ["fork", "online", "listening", "message", "disconnect", "exit"];
    let words = mine.filter_map(|line| line.split(' ').next());
    words.filter(|word| names.contains(word)).map(str::to_owned).collect()
}

#[test]
fn events_come_in_nodes_order() {
    let server = watched("cluster_fixture", &["--workers", "1"]);
    assert_eq!(server.get("/send/hello").text(), "Ok(())\n");
    server.wait_output("message 1 \"hello\"");
    server.get("/exit/3");
    server.wait_output("exit 1 code 3");
    let order = ["fork", "online", "listening", "message", "disconnect", "exit"];
    assert_eq!(events_of(&server, 1), order);
    server.finish();
}

#[test]
fn listening_tells_the_real_address() {
    let server = watched("cluster_fixture", &["--workers", "1"]);
    server.wait_output(&format!("listening 1 {}", server.address()));
    server.finish();
}

#[test]
fn what_was_sent_before_the_end_arrives_before_it() {
    let server = watched("cluster_fixture", &["--workers", "1"]);
    assert_eq!(server.get("/flood/2000").text(), "Ok(())\n");
    server.get("/exit/0");
    server.wait_output("exit 1 code 0");
    let lines = printed(&server);
    let messages: Vec<&String> = lines
        .iter()
        .take_while(|line| !line.starts_with("exit 1 "))
        .filter(|line| line.contains("number "))
        .collect();
    assert_eq!(messages.len(), 2000);
    for (index, line) in messages.iter().enumerate() {
        assert!(line.contains(&format!("\"number {}\"", index + 1)), "{line} at {index}");
    }
    server.finish();
}

#[test]
fn a_killed_worker_is_told_by_its_signal_and_replaced() {
    let server = watched("cluster_fixture", &["--workers", "1"]);
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_output("exit 1 signal SIGKILL, told: false");
    server.wait_output("to the dead: Err(WorkerGone)");
    server.wait_output("listening 2 ");
    server.finish();
}

#[test]
fn a_disconnected_worker_ends_and_was_told() {
    let server = watched("cluster_fixture", &["--workers", "1"]);
    server.get("/disconnect");
    server.wait_output("exit 1 code 0, told: true");
    server.finish();
}

#[test]
fn manual_workers_are_forked_by_the_program_alone() {
    let (worker, primary) = (plugin("cluster_fixture"), plugin("cluster_fixture_primary"));
    let flags = ["--plugin", &worker, "--primary", &primary, "--workers", "manual"];
    let server = Server::launch(&[&flags[..], &["--env", "FORK=3"]].concat());
    for worker in 1..=3 {
        server.wait_output(&format!("listening {worker} "));
    }
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_output("exit 1 signal SIGKILL");
    assert_eq!(server.stdout.count("fork 4"), 0);
    server.finish();
}

#[test]
fn wrong_orders_are_typed_errors() {
    let server = watched("cluster_fixture", &[]);
    server.wait_output("unknown worker: Err(UnknownWorker)");
    server.wait_output("unknown worker: Err(ClusterError::UnknownWorker)");
    server.wait_output("bad environment: Err(ClusterError::Invalid(");
    server.finish();
}

#[test]
fn signals_reach_the_plugin_and_the_program() {
    let server = watched("cluster_fixture", &["--workers", "1"]);
    server.signal(Signal::SIGUSR2);
    wait_for("both to hear of it", || (server.stdout.count("SIGUSR2") >= 2).then_some(()));
    server.signal(Signal::SIGTERM);
    server.wait_output("worker got SIGTERM");
    let mut server = server;
    assert_eq!(server.wait_end().code(), Some(0));
    server.wait_output("closed");
}

#[test]
fn the_cluster_outlives_its_primary_program_or_stops_with_it() {
    let program = |server: &Server| {
        let title = |pid: &u32| process::title(*pid).starts_with("host: primary program");
        wait_for("the program", || process::children(server.pid()).into_iter().find(title))
    };
    let server = watched("cluster_fixture", &[]);
    process::signal(program(&server), Signal::SIGKILL);
    server.wait_line("primary program");
    assert_eq!(server.get("/connected").status(), 200);
    wait_for("the channel to be closed", || {
        (server.get("/connected").text() == "false").then_some(())
    });
    server.finish();

    let mut server = watched("cluster_fixture", &["--exit-with-primary"]);
    process::signal(program(&server), Signal::SIGKILL);
    server.wait_end();
}

#[test]
fn a_plugin_may_not_import_primary() {
    refused(
        &["--plugin", &plugin("counter_primary")],
        &["counter_primary", "host:cluster/primary"],
    );
}

#[test]
fn a_primary_program_must_be_a_command() {
    let (worker, primary) = (plugin("counter"), plugin("hello"));
    refused(&["--plugin", &worker, "--primary", &primary], &["hello.wasm", "wasi:cli/run"]);
}
