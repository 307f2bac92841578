//! The programs as under Node.

use super::printed;
use crate::support::{Server, plugin, process, wait_for};
use std::collections::BTreeSet;
use std::net::TcpStream;

#[test]
fn counter_counts_the_requests_of_all_workers() {
    let primary = plugin("counter_primary");
    let server = Server::serving("counter", &["--primary", &primary, "--workers", "2"]);
    for _ in 0..10 {
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    server.wait_output("numReq = 10");
    server.finish();
}

#[test]
fn order_prints_1_2_3_4_test() {
    let (worker, primary) = (plugin("order"), plugin("order_primary"));
    let flags = ["--plugin", &worker, "--primary", &primary, "--workers", "manual"];
    let server = Server::launch(&flags);
    server.wait_output("TEST");
    assert_eq!(printed(&server), ["1", "2", "3", "4", "TEST"]);
    server.finish();
}

#[test]
fn divided_prints_what_the_worker_sends() {
    let (worker, primary) = (plugin("divided"), plugin("divided_primary"));
    let flags = ["--plugin", &worker, "--primary", &primary, "--workers", "manual"];
    let server = Server::launch(&flags);
    wait_for("two messages", || (server.stdout.count("worker") >= 2).then_some(()));
    assert!(printed(&server).iter().all(|line| line == "worker"));
    server.finish();
}

#[test]
fn failing_tells_code_signal_and_success_apart() {
    let (worker, primary) = (plugin("failing"), plugin("failing_primary"));
    let server = Server::launch(&[
        "--plugin",
        &worker,
        "--primary",
        &primary,
        "--workers",
        "manual",
        "--env",
        "FAIL=panic exit abort none",
        "--env",
        "FAIL_AFTER=200",
    ]);
    server.wait_output("worker exited with error code: 1");
    server.wait_output("worker exited with error code: 3");
    server.wait_output("worker was killed by signal SIGABRT");
    server.wait_output("worker success!");
    server.finish();
}

#[test]
fn without_refork_eight_workers_serve_eight_requests() {
    let (worker, primary) = (plugin("exit_each"), plugin("exit_each_primary"));
    let server = Server::start(&[
        "--plugin",
        &worker,
        "--primary",
        &primary,
        "--workers",
        "manual",
        "--balance",
        "round-robin",
    ]);
    wait_for("eight serving workers", || (server.serving_ids().len() == 8).then_some(()));
    let answers: BTreeSet<String> = (0..8).map(|_| server.get("/").text()).collect();
    assert_eq!(answers.len(), 8, "each worker answers once: {answers:?}");
    server.wait_output("0 workers are left");
    wait_for("connections to be refused", || TcpStream::connect(server.address()).err());
    server.finish();
}

#[test]
fn with_refork_it_never_stops() {
    let server = Server::serving("exit_each", &["--workers", "1"]);
    for _ in 0..3 {
        let worker = server.workers();
        let answer = server.get("/").text();
        assert_eq!(answer, format!("hello world from {}\n", worker[0]));
        wait_for("the worker to end", || (!process::is_alive(worker[0])).then_some(()));
        wait_for("its successor", || (server.workers().len() == 1).then_some(()));
    }
    server.finish();
}

#[test]
fn process_info_knows_the_process() {
    let server = Server::serving("process_info", &["--workers", "1", "--", "one", "two"]);
    let worker = server.workers()[0];
    let info = server.get("/").json();
    let identity = &info["identity"];
    assert_eq!(identity["role"], "worker");
    assert_eq!(
        (&identity["pid"], &identity["primary_pid"]),
        (&worker.into(), &server.pid().into())
    );
    assert_eq!((&identity["worker"], &identity["generation"]), (&1.into(), &1.into()));
    let versions = info["versions"].as_array().expect("versions");
    for name in ["host", "wasmtime", "wasi", "host:cluster"] {
        assert!(versions.iter().any(|pair| pair[0] == name), "version of {name}");
    }
    let config = info["config"].as_array().expect("config");
    let set = |name: &str| config.iter().find(|pair| pair[0] == name).map(|pair| &pair[1]);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    assert_eq!((set("workers"), set("cpus")), (Some(&"1".into()), Some(&cpus.into())));
    let sandbox = &server.status()["pools"][0]["workers"][0]["walls"]["sandbox"];
    assert_eq!(set("sandbox"), Some(sandbox), "{config:?}");
    assert_eq!((&info["platform"], &info["arch"]), (&"linux".into(), &node_arch().into()));
    let arguments = info["arguments"].as_array().expect("arguments");
    assert_eq!(arguments[1..], ["one", "two"]);
    let memory = &info["memory"];
    let bytes = |name: &str| memory[name].as_u64().unwrap_or_else(|| panic!("{name} in {memory}"));
    assert!(bytes("rss") > bytes("instance") && bytes("guest") >= bytes("instance"));
    assert!(bytes("instance") > 0 && bytes("instance") <= bytes("instance_limit"));
    assert!(info["uptime"].as_u64() > Some(0));
    server.finish();
}

#[test]
fn a_title_shows_in_ps() {
    let server = Server::serving("process_info", &["--workers", "1"]);
    let mut connection = server.connect();
    connection.send("PUT /title/renamed HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(connection.response().status(), 204);
    let title = process::title(server.workers()[0]);
    assert!(title.starts_with("host: worker 1") && title.contains("renamed"), "{title}");
    server.finish();
}

fn node_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}
