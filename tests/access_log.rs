//! `--access-log`: one line a request.

use crate::support::{Scratch, Server, wait_for};

fn lines(path: &str, count: usize) -> Vec<String> {
    wait_for("the access log", || {
        let text = std::fs::read_to_string(path).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn a_combined_log_has_the_fields_that_log_readers_expect() {
    let scratch = Scratch::new();
    let path = scratch.at("access.log");
    let log = format!("combined:{path}");
    let server = Server::serving("fixture", &["--access-log", &log]);
    let mut connection = server.connect();
    connection.send(
        "GET /status?code=418 HTTP/1.1\r\nhost: test\r\n\
         referer: http://from.example/\r\nuser-agent: tester \"x\"\r\n\r\n",
    );
    assert_eq!(connection.response().status(), 418);
    let line = lines(&path, 1).remove(0);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("] \"GET /status?code=418 HTTP/1.1\" 418 9 "), "{line}");
    assert!(line.contains("\"http://from.example/\" \"tester "), "{line}");
    // A client cannot end a field with a quote of its own.
    assert!(!line.contains("tester \"x\""), "{line}");
    server.finish();
}

#[test]
fn a_json_log_can_be_parsed_line_by_line() {
    let scratch = Scratch::new();
    let path = scratch.at("access.log");
    let log = format!("json:{path}");
    let server = Server::serving("fixture", &["--access-log", &log]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/").status(), 200);
    assert_eq!(connection.get("/trap").status(), 500);
    for (line, (path, status)) in lines(&path, 2).iter().zip([("/", 200), ("/trap", 500)]) {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(entry["method"], "GET", "{line}");
        assert_eq!(entry["target"], path, "{line}");
        assert_eq!(entry["status"], status, "{line}");
    }
    server.finish();
}

#[test]
fn every_request_of_every_worker_is_in_the_log() {
    let scratch = Scratch::new();
    let path = scratch.at("access.log");
    let log = format!("combined:{path}");
    let flags = ["--workers", "2", "--access-log", &log];
    let server = Server::serving("hello", &flags);
    (0..100).for_each(|number| drop(server.get(&format!("/{number}"))));
    server.finish();
    // What the stop has not waited for would be missing now.
    let text = std::fs::read_to_string(&path).unwrap();
    for number in 0..100 {
        assert!(text.contains(&format!("\"GET /{number} HTTP/1.1\" 200 ")), "{number} is missing");
    }
}

#[test]
fn without_a_file_the_log_goes_to_standard_output() {
    let server = Server::serving("hello", &["--access-log", "combined"]);
    server.get("/shown");
    server.wait_output("\"GET /shown HTTP/1.1\" 200 12");
    server.finish();
}
