//! The primary program: what it sees and what its end means.

use super::with_primary;
use crate::support::{process, wait_for};
use nix::sys::signal::Signal;

fn program(parent: u32) -> u32 {
    wait_for("the primary program", || {
        let is_it = |pid: &u32| process::title(*pid).starts_with("host: primary program ");
        process::children(parent).into_iter().find(is_it)
    })
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
