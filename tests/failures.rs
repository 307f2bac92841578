//! A plugin that fails costs its own request and instance, nothing else.

use crate::support::Server;
use crate::support::http::get_request;
use std::time::{Duration, Instant};

const BOTH: [&str; 2] = ["fixture", "fixture-async"];

/// Asks for something that fails; the worker must live on and answer the next request.
fn fails(name: &str, flags: &[&str], path: &str, status: u16) -> Server {
    let server = Server::serving(name, flags);
    let workers = server.workers();
    assert_eq!(server.get(path).status(), status, "{name} {path}");
    assert_eq!(server.get("/").text(), "fixture\n");
    assert_eq!(server.workers(), workers, "the worker was replaced");
    server
}

#[test]
fn a_trap_is_a_500() {
    for name in BOTH {
        fails(name, &[], "/trap", 500).finish();
    }
}

#[test]
fn a_panic_is_a_500_and_its_message_is_seen() {
    for name in BOTH {
        let server = fails(name, &[], "/panic", 500);
        let line = server.wait_line("told to panic");
        assert!(line.starts_with("[worker 1] "), "{line}");
        server.finish();
    }
}

#[test]
fn endless_recursion_is_a_500() {
    for name in BOTH {
        fails(name, &[], "/recurse", 500).finish();
    }
}

#[test]
fn an_error_the_plugin_returns_is_a_500() {
    for name in BOTH {
        fails(name, &[], "/error", 500).finish();
    }
}

#[test]
fn leaving_the_plugin_is_a_500() {
    for name in BOTH {
        fails(name, &[], "/exit?code=0", 500).finish();
        fails(name, &[], "/exit?code=3", 500).finish();
    }
}

#[test]
fn no_response_at_all_is_a_500() {
    fails("fixture", &[], "/never", 500).finish();
}

#[test]
fn memory_over_the_limit_is_a_500() {
    for name in BOTH {
        let server = fails(name, &["--max-memory-size", "32M"], "/grow", 500);
        assert_eq!(server.get("/grow?mib=16").text(), "took 16 MiB\n");
        assert_eq!(server.get("/grow?mib=40").status(), 500);
        server.finish();
    }
}

#[test]
fn a_cpu_loop_is_a_504_in_time_and_holds_up_nobody() {
    for name in BOTH {
        // Other requests get instances of their own: one that spins serves nobody else.
        let alone = "--max-instance-concurrent-reuse-count";
        let server = Server::serving(name, &["--request-timeout", "2s", alone, "1"]);
        let start = Instant::now();
        let mut spinning = server.connect();
        spinning.send(get_request("/spin"));
        let mut other = server.connect();
        for _ in 0..10 {
            assert_eq!(other.get("/").text(), "fixture\n");
        }
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(2), "others waited {waited:?}");
        assert_eq!(spinning.response().status(), 504);
        let took = start.elapsed();
        assert!((2..6).contains(&took.as_secs()), "the time-out of 2s took {took:?}");
        assert_eq!(server.get("/").text(), "fixture\n");
        server.finish();
    }
}

#[test]
fn many_cpu_loops_take_turns_and_leave_the_others_theirs() {
    let server = Server::serving("fixture", &["--workers", "1", "--request-timeout", "4s"]);
    let mut spinning: Vec<_> = (0..24).map(|_| server.connect()).collect();
    spinning.iter_mut().for_each(|connection| connection.send(get_request("/spin")));
    let start = Instant::now();
    let mut other = server.connect();
    // Were each of them given a turn between two looks at the network, it would be a dozen.
    for _ in 0..40 {
        assert_eq!(other.get("/").text(), "fixture\n");
    }
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(4), "the others waited {waited:?}");
    for connection in &mut spinning {
        assert_eq!(connection.response().status(), 504);
    }
    server.finish();
}

#[test]
fn a_plugin_that_waits_too_long_is_a_504() {
    for name in BOTH {
        fails(name, &["--request-timeout", "200ms"], "/slow?ms=60000", 504).finish();
        fails(name, &["--request-timeout", "10s"], "/slow?ms=50", 200).finish();
    }
}

#[test]
fn a_trap_after_the_head_breaks_the_response_off() {
    for name in BOTH {
        let server = Server::serving(name, &[]);
        let mut connection = server.connect();
        connection.send(get_request("/trap-mid"));
        let head = connection.head();
        assert_eq!(head.status, 200);
        let cause = connection.try_body(&head, |_| {}).expect_err("it cannot be whole");
        assert_ne!(cause.kind(), std::io::ErrorKind::WouldBlock, "the connection hangs");
        assert_eq!(server.get("/").text(), "fixture\n");
        server.finish();
    }
}

#[test]
fn a_trap_does_not_touch_the_neighbours() {
    let server = Server::serving("fixture", &[]);
    let mut neighbour = server.connect();
    neighbour.send(get_request("/drip?pieces=2&ms=300"));
    let head = neighbour.head();
    assert_eq!(server.get("/trap").status(), 500);
    let mut body = Vec::new();
    neighbour.try_body(&head, |piece| body.extend_from_slice(piece)).expect("the whole answer");
    assert_eq!(body, b"piece 0\npiece 1\n");
    server.finish();
}

#[test]
fn too_many_instances_are_a_503_with_retry_after() {
    let server = Server::serving("fixture", &["--max-instances", "1"]);
    let mut first = server.connect();
    first.send(get_request("/drip?pieces=2&ms=500"));
    let head = first.head();
    let refused = server.get("/");
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    first.try_body(&head, |_| {}).expect("the first one is served to its end");
    crate::support::wait_for("room for another", || {
        (server.get("/").status() == 200).then_some(())
    });
    server.finish();
}
