//! The primary program: what it sees and what its end means.

use super::with_primary;
use crate::support::once::{assert_one_line, run};
use crate::support::{DEADLINE, Scratch, Server, plugin, process, wait_for};
use nix::sys::signal::Signal;
use std::io::Read;
use std::net::TcpStream;

fn program(parent: u32) -> u32 {
    wait_for("the primary program", || process::child_titled(parent, "host: primary program "))
}

#[test]
fn the_cluster_goes_on_without_its_primary_program() {
    let server = with_primary("counter_primary", "counter", &["--workers", "1"]);
    process::signal(program(server.pid()), Signal::SIGKILL);
    server.wait_line(
        "primary program counter_primary.wasm was killed by SIGKILL; the cluster goes on",
    );
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn with_exit_with_primary_the_host_stops_when_its_program_does() {
    let flags = ["--workers", "1", "--exit-with-primary"];
    let mut server = with_primary("counter_primary", "counter", &flags);
    process::signal(program(server.pid()), Signal::SIGKILL);
    assert_eq!(server.wait_end().code(), Some(1));
    server.wait_line("; stopping");
}

#[test]
fn a_supervised_worker_is_replaced_and_goes_on_counting() {
    let server = with_primary("counter_primary", "counter", &["--workers", "1"]);
    assert_eq!(server.get("/").text(), "hello world\n");
    server.wait_output("numReq = 1");
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_line("worker 2 ready");
    assert_eq!(server.get("/").text(), "hello world\n");
    // Both are counted, the one of the dead worker too.
    server.wait_output("numReq = 2");
    server.finish();
}

#[test]
fn a_primary_program_is_in_a_control_group_as_a_worker_is() {
    let server = with_primary("counter_primary", "counter", &["--workers", "1"]);
    if !server.wait_line("host: sandbox: ").contains("cgroup v") {
        return eprintln!("not tested: no control groups are to be had here");
    }
    let groups = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let cpu = |pid: u32| groups(pid).lines().find(|line| line.contains(":cpu")).map(str::to_owned);
    assert_eq!(
        cpu(program(server.pid())),
        cpu(server.workers()[0]),
        "one group of the CPU for all"
    );
    for (pid, name) in
        [(program(server.pid()), "primary-program"), (server.workers()[0], "worker-1")]
    {
        let groups = groups(pid);
        assert!(groups.contains(&format!("/host-{}/{name}\n", server.pid())), "{groups}");
    }
    server.finish();
}

/// The command of WASI 0.3 that counts in a file, as primary program and plugin.
fn counting(flags: &[&str]) -> Server {
    let program = plugin("cluster_async");
    Server::start(&[&["--primary", &program, "--workers", "1"], flags].concat())
}

fn greeting(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a greeting");
    text
}

#[test]
fn a_command_of_wasi_0_3_can_be_primary_program_and_plugin() {
    let server = counting(&[]);
    server.wait_output("before: None");
    assert_eq!(greeting(&server), "served by 0.3\n");
    server.wait_output("not kept 1");
    assert_eq!(greeting(&server), "served by 0.3\n");
    server.wait_output("not kept 2");
    server.finish();
}

#[test]
fn a_main_loop_of_wasi_0_3_that_never_waits_leaves_its_worker_turns() {
    let server = counting(&["--env", "SPIN=1", "--drain-timeout", "10m"]);
    server.wait_output("spinning");
    // Only a worker that has turns of its own can hear that it is to end.
    server.finish();
}

#[test]
fn a_primary_program_keeps_files_in_a_directory_of_its_own() {
    let scratch = Scratch::new();
    let dir = format!("{}::/state", scratch.path().display());
    let server = counting(&["--primary-dir", &dir]);
    server.wait_output("before: None");
    greeting(&server);
    server.wait_output("kept 1");
    server.finish();
    assert_eq!(std::fs::read_to_string(scratch.at("count")).unwrap(), "1");

    let server = counting(&["--primary-dir", &dir]);
    server.wait_output("before: Some(1)");
    greeting(&server);
    server.wait_output("kept 2");
    let opener = || process::child_titled(server.pid(), "host: files");
    let first = opener();
    process::signal(first.expect("a process that opens files"), Signal::SIGKILL);
    wait_for("another one", || opener().filter(|pid| Some(*pid) != first));
    wait_for("files to be opened again", || {
        greeting(&server);
        std::fs::read_to_string(scratch.at("count")).ok().filter(|text| text != "2")
    });
    server.finish();

    let server = counting(&["--primary-dir", &format!("{dir}:ro")]);
    server.wait_output("before: Some(");
    greeting(&server);
    server.wait_output("not kept");
    server.finish();
}

#[test]
fn plugins_directories_are_not_the_primary_programs() {
    let scratch = Scratch::new();
    scratch.write("count", "7");
    let dir = format!("{}::/state", scratch.path().display());
    let server = counting(&["--dir", &dir]);
    server.wait_output("before: None");
    greeting(&server);
    server.wait_output("not kept 1");
    server.finish();
    let program = plugin("cluster_async");
    let ended = run(&["serve", "--primary", &program, "--primary-dir", "/no/such::/state"]);
    assert_one_line(&ended, 2, &["--primary-dir /no/such", "No such file"]);
}
