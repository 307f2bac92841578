//! Raw connections: echo, chat, and a server that real Redis clients talk to.

use crate::support::once::refused;
use crate::support::{DEADLINE, Server, plugin, wait_for};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
    stream
}

#[test]
fn echo_sends_everything_back() {
    let server = Server::serving("echo_tcp", &["--workers", "1"]);
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let stream = connect(server.address());
    let (mut reader, mut writer) = (stream.try_clone().expect("clone"), stream);
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || {
        writer.write_all(&sent).expect("send");
        writer.shutdown(Shutdown::Write).expect("finish");
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("receive");
    sending.join().expect("the sending thread");
    assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
    server.finish();
}

#[test]
fn one_worker_serves_many_connections_at_once() {
    let server = Server::serving("echo_tcp", &["--workers", "1"]);
    let mut streams: Vec<TcpStream> = (0..64).map(|_| connect(server.address())).collect();
    for round in 0..3 {
        for stream in &mut streams {
            stream.write_all(b"ping").expect("send");
        }
        for stream in &mut streams {
            let mut got = [0; 4];
            stream.read_exact(&mut got).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(&got, b"ping");
        }
    }
    drop(streams);
    server.finish();
}

/// Someone in the chat.
struct Guest(BufReader<TcpStream>);

impl Guest {
    fn enter(address: SocketAddr, name: &str) -> Guest {
        let mut guest = Guest(BufReader::new(connect(address)));
        let mut question = [0; 6];
        guest.0.read_exact(&mut question).expect("the question");
        assert_eq!(&question, b"name? ");
        guest.say(name);
        guest.hear(&format!("* {name} has come"));
        guest
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(format!("{text}\n").as_bytes()).expect("say");
    }

    fn hear(&mut self, text: &str) {
        let mut line = String::new();
        while line.trim_end() != text {
            line.clear();
            assert_ne!(
                self.0.read_line(&mut line).expect("hear"),
                0,
                "the end instead of {text:?}"
            );
        }
    }
}

#[test]
fn a_chat_goes_across_workers() {
    let primary = plugin("chat_primary");
    let flags = ["--primary", &primary, "--workers", "2", "--balance", "round-robin"];
    let server = Server::serving("chat", &flags);
    let mut ann = Guest::enter(server.address(), "ann");
    let mut bob = Guest::enter(server.address(), "bob");
    ann.hear("* bob has come");
    bob.say("hello");
    ann.hear("bob: hello");
    bob.hear("bob: hello");
    drop(bob);
    ann.hear("* bob has left");
    server.finish();
}

#[test]
fn a_chat_survives_a_reload() {
    let primary = plugin("chat_primary");
    let mut server = Server::serving("chat", &["--primary", &primary, "--workers", "2"]);
    let mut ann = Guest::enter(server.address(), "ann");
    let mut bob = Guest::enter(server.address(), "bob");
    let old = server.workers();
    // Half a line is on its way when the worker drains.
    bob.0.get_mut().write_all(b"still ").expect("say");
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    wait_for("the old workers to end", || {
        let now = server.workers();
        old.iter().all(|pid| !now.contains(pid)).then_some(())
    });
    bob.say("here");
    ann.hear("bob: still here");
    ann.say("so am I");
    bob.hear("ann: so am I");
    server.finish();
}

fn redis(program: &str, server: &Server, arguments: &[&str]) -> String {
    let port = server.address().port().to_string();
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &port]).args(arguments);
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{program} (Debian's redis-tools): {error}"));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn redis_cli_can_talk_to_the_resp_server() {
    let server = Server::serving("resp", &["--workers", "1"]);
    let cli = |arguments: &[&str]| redis("redis-cli", &server, arguments).trim_end().to_owned();
    assert_eq!(cli(&["PING"]), "PONG");
    assert_eq!(cli(&["ECHO", "a b"]), "a b");
    assert_eq!(cli(&["SET", "key", "va\r\nlue"]), "OK");
    assert_eq!(cli(&["GET", "key"]), "va\r\nlue");
    assert_eq!(cli(&["GET", "none"]), "");
    assert_eq!(cli(&["INCR", "n"]), "1");
    assert_eq!(cli(&["INCR", "n"]), "2");
    assert!(cli(&["INCR", "key"]).contains("not an integer"));
    assert_eq!(cli(&["DEL", "key", "n", "none"]), "2");
    assert!(cli(&["INFO"]).contains("process_id:"));
    assert!(cli(&["NOSUCH"]).contains("unknown command"));
    server.finish();
}

#[test]
fn redis_benchmark_runs_against_the_resp_server() {
    let server = Server::serving("resp", &["--workers", "1"]);
    for pipeline in ["1", "16"] {
        let arguments = ["-t", "ping,set,get", "-n", "2000", "-c", "20", "-P", pipeline, "-q"];
        let report = redis("redis-benchmark", &server, &arguments);
        assert_eq!(report.matches("requests per second").count(), 4, "{report}");
    }
    server.finish();
}

#[test]
fn a_bad_resp_client_is_told_and_dropped() {
    let server = Server::serving("resp", &["--workers", "1"]);
    for bad in ["*1\r\nhello\r\n", "*99999999999\r\n", "*1\r\n$-5\r\n", "*1\r\n$3\r\nabcd\r\n"] {
        let mut stream = connect(server.address());
        stream.write_all(bad.as_bytes()).expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("receive");
        assert!(answer.starts_with("-ERR Protocol error"), "{bad:?}: {answer:?}");
    }
    server.finish();
}

#[test]
fn two_kinds_of_handler_need_a_choice() {
    let both = plugin("both");
    refused(&["--plugin", &both], &["both.wasm", "--protocol"]);
    let server = Server::serving("both", &["--protocol", "http"]);
    assert_eq!(server.get("/").text(), "by http\n");
    server.finish();
    let server = Server::serving("both", &["--protocol", "tcp"]);
    let mut text = String::new();
    connect(server.address()).read_to_string(&mut text).expect("receive");
    assert_eq!(text, "by tcp\n");
    server.finish();
}
