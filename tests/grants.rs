//! What a plugin may see and reach: nothing but what a flag grants.

use crate::support::place::HOST;
use crate::support::{Scratch, Server, plugin, process, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::process::Command;

const BOTH: [&str; 2] = ["fixture", "fixture-async"];

#[test]
fn environment_arguments_and_configuration_are_those_of_the_flags() {
    for name in BOTH {
        let mut command = Command::new(HOST);
        command.env("OF_THE_HOST", "kept back").env("PASSED_ON", "passed");
        let flags = ["--env", "A=b=c", "--env", "EMPTY=", "--env", "PASSED_ON", "--set", "k=v"];
        let args = ["--", "one", "--two"];
        let fixture = plugin(name);
        let all = [&["--plugin", fixture.as_str()], &flags[..], &args].concat();
        let server = Server::start_command(command, &all);
        let seen = server.get("/env").json();
        assert_eq!(seen["env"], json!({ "A": "b=c", "EMPTY": "", "PASSED_ON": "passed" }));
        assert_eq!(seen["config"], json!({ "k": "v" }));
        let args = seen["args"].as_array().expect("a list of arguments");
        assert!(args.ends_with(&[json!("one"), json!("--two")]), "{args:?}");
        server.finish();
    }
}

#[test]
fn a_plugin_without_flags_sees_nothing_of_the_host() {
    for name in BOTH {
        let server = Server::serving(name, &[]);
        let seen = server.get("/env").json();
        assert_eq!((&seen["env"], &seen["config"]), (&json!({}), &json!({})));
        assert_eq!(server.get("/fs?path=/etc/passwd").status(), 500);
        assert_eq!(server.get("/fs?path=/").status(), 500);
        server.finish();
    }
}

#[test]
fn a_directory_can_be_read_and_written_and_not_left() {
    for name in BOTH {
        let scratch = Scratch::new();
        scratch.write("outside", "secret");
        std::fs::create_dir(scratch.path().join("in")).unwrap();
        scratch.write("in/note", "a note");
        std::os::unix::fs::symlink("../outside", scratch.path().join("in/link")).unwrap();
        let dir = format!("{}::/data", scratch.at("in"));
        // Started as root, the host gives its workers to nobody.
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(scratch.at("in"), everyone).unwrap();
        let server = Server::serving(name, &["--dir", &dir]);
        assert_eq!(server.get("/fs?path=/data/note").text(), "a note");
        assert_eq!(server.get("/fs-write?path=/data/new&text=hello").status(), 200);
        assert_eq!(std::fs::read(scratch.at("in/new")).unwrap(), b"hello");
        assert_eq!(server.get("/fs?path=/data/new").text(), "hello");
        for outside in ["/data/../outside", "/data/link", "/outside", "/etc/passwd"] {
            assert_eq!(server.get(&format!("/fs?path={outside}")).status(), 500, "{outside}");
        }
        server.finish();
    }
}

/// As root the host gives its workers to nobody.
fn open_to_all() -> Scratch {
    let scratch = Scratch::new();
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(scratch.path(), everyone).unwrap();
    scratch
}

fn tour(server: &Server) -> Value {
    server.get("/fs-tour?path=/data").json()
}

fn as_expected() -> Value {
    json!({
        "again": "AlreadyExists", "missing": "NotFound", "names": ["link", "three", "two"],
        "link": "two", "through-link": "a text, longer", "is-link": true, "size": 14,
        "dated": true, "up-and-down": "a text, longer",
    })
}

#[test]
fn all_that_can_be_done_in_a_directory_works() {
    for name in BOTH {
        let scratch = open_to_all();
        let dir = format!("{}::/data", scratch.path().display());
        let server = Server::serving(name, &["--dir", &dir]);
        assert_eq!(tour(&server), as_expected(), "{name}");
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        server.finish();
        let server = Server::serving(name, &["--dir", &dir, "--insecure-no-sandbox"]);
        assert_eq!(tour(&server), as_expected(), "{name} without a sandbox");
        server.finish();
    }
}

#[test]
fn a_directory_works_with_the_streams_of_0_3() {
    let scratch = open_to_all();
    let dir = format!("{}::/data", scratch.path().display());
    let server = Server::serving("fixture-async", &["--dir", &dir]);
    let expected = json!({
        "names": ["link", "two"], "text": "a text", "link": "two", "size": 6,
        "out": "ErrorCode::NotPermitted",
    });
    for _ in 0..3 {
        assert_eq!(server.get("/fs-streams").json(), expected);
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    server.finish();
}

#[test]
fn the_process_that_opens_files_is_replaced_when_it_dies() {
    let scratch = open_to_all();
    let dir = format!("{}::/data", scratch.path().display());
    let server = Server::serving("fixture", &["--dir", &dir]);
    let workers = server.workers();
    let opener = || process::child_titled(server.pid(), "host: files");
    let first = opener().expect("a process that opens files");
    process::signal(first, Signal::SIGKILL);
    wait_for("another one", || opener().filter(|pid| *pid != first));
    wait_for("files to be opened again", || (tour(&server) == as_expected()).then_some(()));
    assert_eq!(server.workers(), workers);
    server.finish();
}

#[test]
fn nobody_opens_files_where_none_are_granted() {
    let server = Server::serving("fixture", &[]);
    assert_eq!(process::child_titled(server.pid(), "host: files"), None);
    server.finish();
}

#[test]
fn a_read_only_directory_cannot_be_written() {
    for name in BOTH {
        let scratch = Scratch::new();
        scratch.write("note", "a note");
        let dir = format!("{}::/data:ro", scratch.path().display());
        let server = Server::serving(name, &["--dir", &dir]);
        assert_eq!(server.get("/fs?path=/data/note").text(), "a note");
        for path in ["/data/note", "/data/new"] {
            assert_eq!(server.get(&format!("/fs-write?path={path}&text=x")).status(), 500);
        }
        assert_eq!(std::fs::read(scratch.at("note")).unwrap(), b"a note");
        assert!(!scratch.path().join("new").exists());
        server.finish();
    }
}

fn outbound(server: &Server, url: &str) -> Value {
    server.get(&format!("/outbound?url={url}")).json()
}

#[test]
fn outgoing_requests_are_denied_without_a_grant() {
    let target = Server::serving("hello", &[]);
    for name in BOTH {
        let server = Server::serving(name, &[]);
        let seen = outbound(&server, &format!("http://{}/", target.address()));
        assert_eq!(seen, json!({ "error": "HttpRequestDenied" }), "{name}");
        server.finish();
    }
    target.finish();
}

#[test]
fn outgoing_requests_reach_what_is_granted_and_nothing_else() {
    let target = Server::serving("hello", &[]);
    let other = Server::serving("hello", &[]);
    for name in BOTH {
        let grant = target.address().to_string();
        let server = Server::serving(name, &["--allow-outbound", &grant]);
        let seen = outbound(&server, &format!("http://{}/", target.address()));
        assert_eq!(seen, json!({ "status": 200, "body": "hello world\n" }), "{name}");
        let seen = outbound(&server, &format!("http://{}/", other.address()));
        assert_eq!(seen, json!({ "error": "HttpRequestDenied" }), "{name}");
        server.finish();
    }
    other.finish();
    target.finish();
}

#[test]
fn outgoing_requests_find_granted_names() {
    let target = Server::serving("hello", &[]);
    let name = format!("localhost:{}", target.address().port());
    for fixture in BOTH {
        let server = Server::serving(fixture, &["--allow-outbound", &name]);
        let seen = outbound(&server, &format!("http://{name}/"));
        assert_eq!(seen, json!({ "status": 200, "body": "hello world\n" }), "{fixture}");
        server.finish();
    }
    target.finish();
}

#[test]
fn an_outgoing_request_to_nobody_is_an_error_the_plugin_can_read() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for name in BOTH {
        let grant = free.to_string();
        let server = Server::serving(name, &["--allow-outbound", &grant]);
        let seen = outbound(&server, &format!("http://{free}/"));
        assert_eq!(seen, json!({ "error": "ConnectionRefused" }), "{name}");
        server.finish();
    }
}
