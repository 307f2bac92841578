//! How much of a worker clients and requests may take, and what they hear beyond it.

use crate::support::http::get_request;
use crate::support::once::{assert_one_line, run};
use crate::support::{Connection, Server, process, wait_for};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpStream};

const BOTH: [&str; 2] = ["fixture", "fixture-async"];

#[test]
fn the_stack_of_a_call_is_limited() {
    for name in BOTH {
        let server = Server::serving(name, &[]);
        assert_eq!(server.get("/recurse?times=2000").text(), "2000", "{name}");
        server.finish();
        let server = Server::serving(name, &["--max-stack-size", "64K"]);
        assert_eq!(server.get("/recurse?times=2000").status(), 500, "{name}");
        assert_eq!(server.get("/recurse?times=20").text(), "20", "{name}");
        server.wait_line("call stack exhausted");
        server.finish();
    }
}

#[test]
fn requests_beyond_their_limit_are_a_503_with_retry_after() {
    for name in BOTH {
        let server = Server::serving(name, &["--workers", "1", "--max-requests-in-flight", "2"]);
        let mut slow = [server.connect(), server.connect()];
        slow.iter_mut().for_each(|client| client.send(get_request("/drip?pieces=2&ms=500")));
        let heads = slow.each_mut().map(|client| client.head());
        let mut third = server.connect();
        let answer = third.get("/");
        assert_eq!(answer.status(), 503);
        assert!(answer.header("retry-after").is_some() && !answer.head.closes(), "{answer:?}");
        for (client, head) in slow.iter_mut().zip(&heads) {
            client.try_body(head, |_| {}).expect("the rest of what was begun");
        }
        wait_for("room for another", || (third.get("/").status() == 200).then_some(()));
        server.finish();
    }
}

#[test]
fn the_limit_of_requests_is_shared_out_to_however_many_workers_there_are() {
    let flags = ["--workers", "2", "--max-requests-in-flight", "2", "--balance", "round-robin"];
    let server = Server::serving("fixture", &flags);
    let assert_two_are_answered = || {
        let mut slow = [server.connect(), server.connect()];
        slow.iter_mut().for_each(|client| client.send(get_request("/drip?pieces=2&ms=500")));
        let heads = slow.each_mut().map(|client| client.head());
        assert_eq!(heads.each_ref().map(|head| head.status), [200, 200]);
        // Whichever worker they find.
        assert_eq!([server.get("/").status(), server.get("/").status()], [503, 503]);
        for (client, head) in slow.iter_mut().zip(&heads) {
            client.try_body(head, |_| {}).expect("the rest of what was begun");
        }
    };
    assert_two_are_answered();
    server.tell(&["scale", "1"]);
    wait_for("the other worker to end", || (server.workers().len() == 1).then_some(()));
    assert_two_are_answered();
    server.tell(&["scale", "2"]);
    assert_two_are_answered();
    server.finish();
}

#[test]
fn fewer_requests_than_workers_are_refused() {
    let flags = ["--plugin", "a.wasm", "--workers", "3", "--max-requests-in-flight", "2"];
    let ended = run(&[&["serve"][..], &flags].concat());
    assert_one_line(&ended, 2, &["--max-requests-in-flight 2", "3 workers", "at least 1 for each"]);
}

#[test]
fn connections_beyond_those_of_all_workers_wait() {
    for policy in ["least-connections", "shared"] {
        let flags = ["--workers", "1", "--max-connections", "2", "--balance", policy];
        let server = Server::serving("hello", &flags);
        let mut served = [server.connect(), server.connect()];
        assert!(served.iter_mut().all(|client| client.get("/").status() == 200));
        let mut third = server.connect();
        third.send(get_request("/"));
        // It would have been answered long before these.
        assert!((0..50).all(|_| served[0].get("/").status() == 200));
        assert_eq!(server.status()["pools"][0]["workers"][0]["connections"], 2, "{policy}");
        assert!(third.is_silent(), "{policy}");
        drop(served);
        assert_eq!(third.response().status(), 200, "{policy}");
        server.finish();
    }
}

/// From another address of this machine.
fn neighbour(address: SocketAddr) -> Connection {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("bind 127.0.0.2");
    socket.connect(&address.into()).expect("connect");
    Connection::over(TcpStream::from(socket))
}

/// Whether one more connection of this address is served.
fn one_more(server: &Server) -> Option<Connection> {
    let mut client = server.connect();
    let _ = client.try_send(get_request("/"));
    client.try_response().ok().flatten().map(|_| client)
}

#[test]
fn a_client_address_with_too_many_connections_is_turned_away() {
    let mut server =
        Server::serving("hello", &["--workers", "2", "--max-connections-per-address", "2"]);
    let turned_away = |server: &Server| server.status()["pools"][0]["turned_away"].clone();
    let mut held: Vec<_> = (0..2).map(|_| one_more(&server).expect("a free place")).collect();
    assert!(one_more(&server).is_none());
    assert_eq!(turned_away(&server), 1);
    assert_eq!(neighbour(server.address()).get("/").status(), 200);
    // Those that change workers are the same as before: they stay, and still count.
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    wait_for("the old workers' end", || (server.workers().len() == 2).then_some(()));
    assert!(held.iter_mut().all(|client| client.get("/").status() == 200));
    assert!(one_more(&server).is_none());
    held.pop();
    held.push(wait_for("a free place", || one_more(&server)));
    // Of a worker that is gone, nothing is left to count.
    for worker in server.workers() {
        process::signal(worker, Signal::SIGKILL);
    }
    held = wait_for("two free places", || Some(vec![one_more(&server)?, one_more(&server)?]));
    drop(held);
    server.finish();
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let refused = |flags: &[&str], words: &[&str]| {
        let ended = run(&[&["serve", "--plugin", "x.wasm"], flags].concat());
        assert_one_line(&ended, 2, words);
    };
    let shared = ["--balance", "shared", "--max-connections-per-address", "2"];
    refused(&shared, &["--max-connections-per-address", "shared"]);
    refused(&["--max-stack-size", "1K"], &["--max-stack-size 1K", "64K"]);
}
