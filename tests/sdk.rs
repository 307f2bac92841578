//! What a plugin gets from the Rust SDK: routes, bodies in both directions, values that outlive a call.

use crate::support::Server;

fn routes(flags: &[&str]) -> Server {
    Server::serving("routes", &[&["--workers", "1"][..], flags].concat())
}

#[test]
fn paths_lead_to_their_functions() {
    let server = routes(&[]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/").text(), "hello world\n");
    assert_eq!(connection.get("/hello/ann").text(), "hello ann\n");
    assert_eq!(connection.get("/nowhere").status(), 404);
    connection.send("DELETE /files/a/b HTTP/1.1\r\nhost: test\r\n\r\n");
    let answer = connection.response();
    assert_eq!((answer.status(), answer.text().as_str()), (202, "a/b\n"));
    connection.send("PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n");
    let answer = connection.response();
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET")));
    server.finish();
}

#[test]
fn bodies_pass_through_whole_or_in_pieces() {
    let server = routes(&[]);
    let mut connection = server.connect();
    let body: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(connection.post("/echo", &body).body == body);
    assert_eq!(connection.post("/length", &body).text(), "2000000\n");
    assert_eq!(connection.get("/ticks/3").text(), "tick 1\ntick 2\ntick 3\n");
    server.finish();
}

#[test]
fn json_goes_in_and_out() {
    let server = routes(&[]);
    let mut connection = server.connect();
    let answer = connection.post("/sum", br#"{"a": 1, "b": 2.5}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["sum"], 3.5);
    assert_eq!(connection.post("/sum", b"{").status(), 400);
    server.finish();
}

#[test]
fn an_error_is_500_and_a_line_on_stderr() {
    let server = routes(&[]);
    assert_eq!(server.get("/error").status(), 500);
    server.wait_line("as asked for");
    server.finish();
}

#[test]
fn a_local_value_lives_as_long_as_its_instance() {
    let server = routes(&[]);
    assert_eq!(
        (server.get("/calls").text(), server.get("/calls").text()),
        ("1".into(), "1".into())
    );
    server.finish();
    let server = routes(&["--max-instance-reuse-count", "10"]);
    assert_eq!(
        (server.get("/calls").text(), server.get("/calls").text()),
        ("1".into(), "2".into())
    );
    server.finish();
}

#[test]
fn the_same_code_serves_wasi_0_3() {
    let server = Server::serving("routes_async", &["--workers", "1"]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/hello/ann").text(), "hello ann\n");
    assert_eq!(connection.get("/calls").text(), "1");
    assert_eq!(connection.get("/calls").text(), "2");
    let body = vec![7; 1_000_000];
    assert!(connection.post("/echo", &body).body == body);
    server.finish();
}
