//! A Wasm program with a message channel.

use serde_json::json;

use super::{ask, serving};

#[test]
fn messages_go_both_ways_and_disconnect_comes_before_exit() {
    let server = serving(&[], &[]);
    let messages = json!([1, "two", { "three": [3] }]);
    let wanted = json!({ "program": "actor", "args": ["answer"], "messages": messages });
    let answer = ask(&server, "/fork", wanted);
    let got: Vec<_> = messages.as_array().unwrap().iter().map(|m| json!({ "got": m })).collect();
    assert_eq!(answer["replies"], json!(got));
    assert_eq!(answer["asked"], format!("\"who\" is {}", answer["pid"]));
    assert_eq!(answer["late"], "no channel to the other side");
    assert_eq!(answer["events"], json!(["disconnect", "exit code 0", "close"]));
    server.finish();
}

#[test]
fn a_child_that_ends_breaks_the_channel() {
    let server = serving(&[], &[]);
    let wanted = json!({ "program": "actor", "args": ["say", "bye"], "messages": ["hello"] });
    assert_eq!(ask(&server, "/fork", wanted)["error"], "no channel to the other side");
    server.finish();
}

#[test]
fn a_large_message_is_refused_by_its_sender() {
    let server = serving(&[], &["--max-message-size", "1K"]);
    let wanted = json!({ "program": "actor", "args": ["answer"], "messages": ["x".repeat(2000)] });
    assert_eq!(ask(&server, "/fork", wanted)["error"], "message exceeds 1024 bytes");
    server.finish();
}
