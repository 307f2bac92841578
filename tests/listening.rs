//! Where the host listens.

use crate::support::place::HOST;
use crate::support::{Connection, Scratch, Server, get, once, plugin};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn one_random_port_serves_all_workers() {
    let server = Server::serving("fixture", &["--workers", "4"]);
    assert_eq!(server.addresses().len(), 1);
    // Connections that stay open spread over all four.
    let mut open: Vec<Connection> = (0..8).map(|_| server.connect()).collect();
    for connection in &mut open {
        assert_eq!(connection.get("/stdout").status(), 200);
    }
    for id in 1..=4 {
        server.wait_output(&format!("[worker {id}] "));
    }
    server.finish();
}

#[test]
fn several_addresses_are_all_served_and_all_named() {
    let listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
    let server = Server::serving("hello", &listen);
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3, "{:?}", server.urls);
    assert!(addresses[2].is_ipv6());
    for address in addresses {
        assert_eq!(get(address, "/").text(), "hello world\n");
    }
    server.finish();
}

#[test]
fn every_address_at_once_can_be_listened_on() {
    let server = Server::serving("hello", &["--listen", "[::]:0"]);
    let port = server.address().port();
    for host in ["127.0.0.1", "[::1]"] {
        let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
        assert_eq!(get(address, "/").text(), "hello world\n");
    }
    server.finish();
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_with_the_host() {
    let scratch = Scratch::new();
    let path = scratch.at("socket");
    let listen = format!("unix:{path},mode=660");
    let server = Server::serving("hello", &["--listen", &listen]);
    assert_eq!(server.urls, [format!("unix:{path}")]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(Connection::open_unix(Path::new(&path)).get("/").text(), "hello world\n");
    server.finish();
    assert!(!Path::new(&path).exists(), "the socket was left behind");
}

#[test]
fn a_unix_socket_nobody_serves_any_more_is_replaced_and_a_served_one_is_not() {
    let scratch = Scratch::new();
    let path = scratch.at("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("unix:{path}");
    let hello = plugin("hello");
    let server = Server::start(&["--plugin", &hello, "--listen", &listen]);
    once::refused(&["--plugin", &hello, "--listen", &listen], &["bind", &path, "in use"]);
    assert_eq!(Connection::open_unix(Path::new(&path)).get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_listener_that_is_open_already_can_be_passed_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let number = listener.as_raw_fd();
    let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&listener, flags).expect("let children inherit it");
    let listen = format!("fd://{number}");
    let hello = plugin("hello");
    let server =
        Server::start_command(Command::new(HOST), &["--plugin", &hello, "--listen", &listen]);
    drop(listener);
    assert_eq!(server.address(), address);
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

/// Two in a row, below those that the kernel gives to connections and to port 0.
fn two_free_ports() -> u16 {
    let begin = 10_000 + (std::process::id() % 10_000) as u16;
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (begin..begin + 1000).find(|port| free(*port) && free(*port + 1)).expect("two free ports")
}

#[test]
fn each_worker_can_have_a_port_of_its_own_besides() {
    let first = two_free_ports();
    let port = first.to_string();
    let flags = ["--workers", "2", "--listen-per-worker", &port];
    let server = Server::serving("fixture", &flags);
    for id in 1..=2 {
        let address = SocketAddr::from(([127, 0, 0, 1], first + id - 1));
        for turn in 0..3 {
            let text = format!("port-{id}-{turn}");
            assert_eq!(get(address, &format!("/stdout?text={text}")).status(), 200);
            assert_eq!(server.wait_output(&text), format!("[worker {id}] {text}"));
        }
    }
    assert_eq!(server.get("/").text(), "fixture\n");
    server.finish();
}
