//! Web frameworks, as they are, answer requests: Hono on both engines, Flask, Starlette.

use super::{built, serve};
use crate::support::Server;

fn application(path: &str, name: &str) -> Option<Server> {
    let server = serve(&["--plugin", &built(path)?, "--workers", "auto"]);
    assert_eq!(server.get("/").text(), format!("hello from {name}\n"));
    let mut connection = server.connect();
    let head = "GET /users/anna HTTP/1.1\r\nhost: test\r\nuser-agent: tests\r\n\r\n";
    connection.send(head);
    let user = connection.response().json();
    assert_eq!((&user["user"], &user["agent"]), (&"anna".into(), &"tests".into()));
    let body: Vec<u8> = (0..100_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    assert!(connection.post("/echo", &body).body == body, "the body comes back");
    assert_eq!(connection.get("/nowhere").status(), 404);
    Some(server)
}

#[test]
fn hono_runs_on_quickjs() {
    application("js/build/quickjs/hono.wasm", "Hono").into_iter().for_each(Server::finish);
}

#[test]
fn hono_runs_on_starlingmonkey() {
    application("js/build/hono.wasm", "Hono").into_iter().for_each(Server::finish);
}

#[test]
fn flask_runs() {
    application("python/build/flask_app.wasm", "Flask").into_iter().for_each(Server::finish);
}

#[test]
fn starlette_runs_and_streams() {
    let Some(server) = application("python/build/starlette_app.wasm", "Starlette") else { return };
    assert_eq!(server.get("/ticks").text(), "0\n1\n2\n");
    server.finish();
}
