//! Messages between workers and the primary program: limits, errors, replies.

use crate::support::{Server, plugin};

const MIB: usize = 1024 * 1024;

fn talking(flags: &[&str]) -> Server {
    let primary = plugin("cluster_fixture_primary");
    Server::serving("cluster_fixture", &[&["--primary", &primary][..], flags].concat())
}

fn says(server: &Server, path: &str) -> String {
    server.get(path).text().trim_end().to_owned()
}

#[test]
fn a_request_gets_its_own_reply() {
    let server = talking(&[]);
    assert_eq!(says(&server, "/ask/who"), "Ok(\"who!\")");
    assert_eq!(says(&server, "/ask-in-vain"), "Err(TimedOut)");
    assert_eq!(says(&server, "/ask/again"), "Ok(\"again!\")");
    server.finish();
}

#[test]
fn a_worker_answers_once() {
    let server = talking(&["--workers", "1"]);
    server.wait_output("worker got \"ping\"");
    server.wait_output("first reply: Ok(())");
    server.wait_output("second reply: Err(NoSuchRequest)");
    server.wait_output("answer Ok(\"pong\")");
    server.finish();
}

#[test]
fn a_message_has_a_limit() {
    let server = talking(&[]);
    assert_eq!(says(&server, "/oversize"), format!("Err(TooLarge({MIB}))"));
    assert_eq!(says(&server, "/largest"), "Ok(())");
    server.wait_output(&format!("of {MIB}"));
    server.finish();
}

#[test]
fn the_limit_can_be_set() {
    let server = talking(&["--max-message-size", "2000"]);
    assert_eq!(says(&server, "/oversize"), "Err(TooLarge(2000))");
    assert_eq!(says(&server, "/largest"), "Ok(())");
    server.wait_output("of 2000");
    server.finish();
}

#[test]
fn a_message_handler_gets_every_message() {
    let server = talking(&[]);
    assert_eq!(says(&server, "/receive"), "Err(HandledElsewhere)");
    server.finish();
}

#[test]
fn without_a_primary_program_there_is_no_channel() {
    let server = Server::serving("cluster_fixture", &[]);
    assert_eq!(says(&server, "/connected"), "false");
    assert_eq!(says(&server, "/send/hello"), "Err(NotConnected)");
    assert_eq!(says(&server, "/ask/who"), "Err(NotConnected)");
    server.finish();
}

#[test]
fn a_plugin_may_not_signal_others() {
    let server = Server::serving("cluster_fixture", &[]);
    let refused = says(&server, "/kill");
    assert!(refused.starts_with("Err(") && refused.contains("not-permitted"), "{refused}");
    assert_eq!(says(&server, "/long-title"), "Err(TitleError::TooLong(64))");
    assert_eq!(says(&server, "/bad-title"), "Err(TitleError::Invalid)");
    server.finish();
}
