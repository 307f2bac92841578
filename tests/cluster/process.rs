//! What a plugin can know of its process, and how it ends it.

use crate::support::{Server, process, wait_for};
use serde_json::Value;

fn info(server: &Server) -> Value {
    server.get("/").json()
}

#[test]
fn a_plugin_sees_its_process_as_ps_does() {
    let server = Server::serving("process-info", &["--workers", "2", "--env", "SECRET=x"]);
    let workers = server.workers_by_id();
    let seen = info(&server);
    let id = seen["identity"]["worker"].as_u64().expect("a worker id") as u32;
    let (_, pid) = workers.iter().find(|(known, _)| *known == id).expect("one of the workers");
    assert_eq!(seen["identity"]["pid"].as_u64(), Some(u64::from(*pid)));
    assert_eq!(seen["identity"]["primary_pid"].as_u64(), Some(u64::from(server.pid())));
    assert_eq!(seen["identity"]["generation"].as_u64(), Some(1));
    assert_eq!(seen["title"], process::title(*pid).as_str());
    assert!(seen["memory"]["rss"].as_u64() > Some(1 << 20), "{seen:#}");
    assert!(seen["memory"]["instance"].as_u64() > Some(0), "{seen:#}");
    assert_eq!(seen["memory"]["instance_limit"].as_u64(), Some(256 << 20));
    assert!(seen.to_string().contains("wasmtime"), "{seen:#}");
    let line = seen["exec_arguments"].to_string();
    assert!(line.contains("--env") && !line.contains("SECRET"), "{line}");
    server.finish();
}

#[test]
fn a_plugin_sets_the_title_that_ps_shows() {
    let server = Server::serving("process-info", &[]);
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("PUT /title/busy HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert!(client.response().status() < 300);
    let expected = "host: worker 1 (gen 1) busy";
    wait_for("the new title", || process::title(worker).starts_with(expected).then_some(()));
    server.finish();
}

#[test]
fn arguments_agree_with_the_environment_interface() {
    let server = Server::serving("process-info", &["--", "one", "--two"]);
    let seen = info(&server);
    let expected = serde_json::json!(["process_info.wasm", "one", "--two"]);
    assert_eq!(seen["arguments"], expected, "{seen:#}");
    server.finish();
}
