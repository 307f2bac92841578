//! How long an instance of a plugin lives. `/count` tells how often its instance was asked.

use crate::support::{Server, wait_for};

fn counts(server: &Server, requests: usize) -> Vec<u32> {
    let mut connection = server.connect();
    let mut count = || connection.get("/count").text().trim().parse().expect("a number");
    (0..requests).map(|_| count()).collect()
}

fn start(name: &str, flags: &[&str]) -> Server {
    Server::serving(name, flags)
}

#[test]
fn an_0_2_plugin_gets_a_fresh_instance_for_each_request() {
    let server = start("fixture", &[]);
    assert_eq!(counts(&server, 5), [1; 5]);
    server.finish();
}

#[test]
fn an_0_2_plugin_is_reused_as_often_as_it_is_told() {
    let server = start("fixture", &["--max-instance-reuse-count", "3"]);
    assert_eq!(counts(&server, 7), [1, 2, 3, 1, 2, 3, 1]);
    server.finish();
}

#[test]
fn an_0_3_plugin_serves_128_requests_with_one_instance() {
    let server = start("fixture-async", &[]);
    let expected: Vec<u32> = (1..=128).chain(1..=2).collect();
    assert_eq!(counts(&server, 130), expected);
    server.finish();
}

#[test]
fn an_0_3_plugin_can_have_fresh_instances_too() {
    let server = start("fixture-async", &["--max-instance-reuse-count", "1"]);
    assert_eq!(counts(&server, 5), [1; 5]);
    server.finish();
}

#[test]
fn zero_means_reuse_without_limit() {
    for name in ["fixture", "fixture-async"] {
        let server = start(name, &["--max-instance-reuse-count", "0"]);
        assert_eq!(counts(&server, 300).last(), Some(&300));
        server.finish();
    }
}

#[test]
fn an_idle_instance_is_let_go() {
    for name in ["fixture", "fixture-async"] {
        let flags = ["--max-instance-reuse-count", "100", "--idle-instance-timeout", "100ms"];
        let server = start(name, &flags);
        assert_eq!(counts(&server, 2), [1, 2]);
        wait_for("the instance to be gone", || {
            (server.status()["pools"][0]["workers"][0]["instances"] == 0).then_some(())
        });
        assert_eq!(counts(&server, 2), [1, 2], "{name}");
        server.finish();
    }
}

#[test]
fn requests_at_the_same_time_do_not_share_an_0_2_instance() {
    let server = start("fixture", &["--max-instance-reuse-count", "100"]);
    let mut slow = server.connect();
    slow.send(crate::support::http::get_request("/drip?pieces=2&ms=300"));
    let head = slow.head();
    // The slow one has its instance now, and the others are not made to wait for it.
    assert_eq!(counts(&server, 1), [1]);
    slow.try_body(&head, |_| {}).expect("the rest of the slow answer");
    server.finish();
}
