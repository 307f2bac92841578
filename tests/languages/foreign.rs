//! Components that nobody here wrote: the examples of published crates, from four makers of bindings and three versions of
//! WASI, as `make plugins-foreign` builds them.

use super::{built, serve};
use crate::support::{Server, plugin};

fn foreign(name: &str, flags: &[&str]) -> Option<Server> {
    let file = built(&format!("foreign/build/{name}.wasm"))?;
    Some(serve(&[&["--plugin", file.as_str()][..], flags].concat()))
}

fn greets(name: &str) {
    let Some(server) = foreign(name, &["--workers", "auto"]) else { return };
    for _ in 0..3 {
        let answer = server.get("/");
        assert_eq!((answer.status(), answer.text().trim_end()), (200, "Hello, WASI!"));
    }
    server.finish();
}

#[test]
fn the_example_of_wasi_0_14_greets() {
    greets("wasi-http-proxy");
}

#[test]
fn the_example_of_wasip2_greets() {
    greets("wasip2-http-proxy");
}

#[test]
fn the_example_of_wasip2_without_a_standard_library_greets() {
    greets("wasip2-http-proxy-no_std");
}

#[test]
fn the_example_of_wasip3_greets() {
    greets("wasip3-http-proxy");
}

#[test]
fn the_example_of_wasip3_with_the_http_crate_greets() {
    greets("wasip3-http-proxy-compat");
}

#[test]
fn the_server_of_wstd_streams_waits_and_echoes() {
    let Some(server) = foreign("wstd-http_server", &[]) else { return };
    let mut connection = server.connect();
    assert_eq!(connection.get("/").text(), "Hello, wasi:http/proxy world!\n");
    for path in ["/wait-response", "/wait-body"] {
        let text = connection.get(path).text();
        assert!(text.starts_with("slept for 1") && text.ends_with(" millis\n"), "{path}: {text}");
    }
    assert_eq!(connection.get("/stream-body").text().lines().count(), 5);
    let body = vec![b'x'; 300_000];
    assert!(connection.post("/echo", &body).body == body, "the body comes back");
    assert_eq!(connection.get("/response-fail").status(), 500);
    assert_eq!(connection.get("/nowhere").status(), 404);
    drop(connection);
    server.finish();
}

#[test]
fn the_proxy_of_wstd_passes_requests_on() {
    let upstream = Server::start(&["--plugin", &plugin("hello")]);
    let target = format!("{}/", upstream.urls[0]);
    let (allowed, variable) = (upstream.address().to_string(), format!("TARGET_URL={target}"));
    let flags = ["--allow-outbound", &allowed, "--env", &variable];
    if let Some(server) = foreign("wstd-http_server_proxy", &flags) {
        assert_eq!(server.get("/proxy/").text(), "hello world\n");
        assert_eq!(server.get("/elsewhere").status(), 404);
        server.finish();
    }
    upstream.finish();
}
