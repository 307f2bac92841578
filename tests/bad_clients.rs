//! Clients that break the rules cost the host nothing but their own connection.

use crate::support::http::get_request;
use crate::support::{DEADLINE, Server, wait_for};
use std::time::Instant;

fn hello(flags: &[&str]) -> Server {
    Server::serving("hello", flags)
}

#[test]
fn malformed_http_is_a_400() {
    let server = hello(&[]);
    for nonsense in [
        "no http at all\r\n\r\n",
        "GET / HTTP/1.1\r\nhost test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: test\r\nx: \0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: many\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET /\u{7f} HTTP/1.1\r\nhost: test\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(nonsense);
        let head = connection.head();
        assert_eq!(head.status, 400, "{nonsense:?}");
        connection.rest();
    }
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_head_over_the_limit_is_a_431() {
    let server = hello(&["--max-header-size", "8K"]);
    let mut connection = server.connect();
    let long = "x".repeat(4000);
    connection.send(format!("GET / HTTP/1.1\r\nhost: test\r\nx-long: {long}\r\n\r\n"));
    assert_eq!(connection.response().status(), 200);
    let long = "x".repeat(20_000);
    let mut connection = server.connect();
    let _ = connection.try_send(format!("GET / HTTP/1.1\r\nhost: test\r\nx-long: {long}\r\n\r\n"));
    assert_eq!(connection.head().status, 431);
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_body_over_the_limit_is_a_413() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &["--max-body-size", "4K"]);
        let mut connection = server.connect();
        assert_eq!(connection.post("/sink", &[b'x'; 4096]).text(), "4096\n");
        let length = "POST /sink HTTP/1.1\r\nhost: test\r\ncontent-length: 4097\r\n\r\n";
        connection.send(length);
        assert_eq!(connection.head().status, 413, "{name}");
        // Without a length it shows only on the way.
        let mut connection = server.connect();
        connection.send("POST /sink HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
        let body = "x".repeat(8192);
        let _ = connection.try_send(format!("2000\r\n{body}\r\n0\r\n\r\n"));
        assert_eq!(connection.head().status, 413, "{name}, chunked");
        assert_eq!(server.get("/").text(), "fixture\n");
        server.finish();
    }
}

#[test]
fn a_head_that_comes_too_slowly_ends_the_connection() {
    let server = hello(&["--header-timeout", "300ms"]);
    let start = Instant::now();
    let mut connection = server.connect();
    connection.send("GET / HTTP/1.1\r\nhost: te");
    let answer = connection.rest();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
    assert!(start.elapsed() < DEADLINE / 2, "it took {:?}", start.elapsed());
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_client_that_says_nothing_at_all_is_let_go() {
    let server = hello(&["--header-timeout", "300ms", "--keep-alive-timeout", "300ms"]);
    assert_eq!(server.connect().rest(), b"");
    let mut used = server.connect();
    assert_eq!(used.get("/").text(), "hello world\n");
    assert_eq!(used.rest(), b"");
    server.finish();
}

#[test]
fn a_client_that_vanishes_in_the_middle_frees_everything() {
    for name in ["fixture", "fixture-async"] {
        // With one instance only, an instance that is not freed shows at once.
        let flags = ["--max-instances", "1", "--max-instance-concurrent-reuse-count", "1"];
        let server = Server::serving(name, &flags);
        for _ in 0..3 {
            let mut uploader = server.connect();
            uploader.send("POST /sink HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\nhalf");
            drop(uploader);
            let mut downloader = server.connect();
            downloader.send(get_request("/big?mib=512"));
            drop(downloader);
            let mut impatient = server.connect();
            impatient.send(get_request("/slow?ms=60000"));
            drop(impatient);
            wait_for("the instance to be free again", || {
                (server.get("/").status() == 200).then_some(())
            });
        }
        server.finish();
    }
}
