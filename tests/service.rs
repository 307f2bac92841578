//! Under a service manager: passed sockets, notifications, the watchdog. Without one of those the
//! tests play its part.

use crate::support::{Scratch, Server, place, plugin, wait_for};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

/// Puts the socket on standard input where systemd puts sockets, says what systemd says, and
/// becomes the host.
const ACTIVATE: &str = "exec 3<&0 4<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" serve \"$@\"";

#[test]
fn sockets_of_a_service_manager_are_used_all_or_by_name() {
    for (flags, count) in [(&[][..], 2), (&["--listen", "systemd:web"], 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let mut shell = Command::new("sh");
        shell.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "api:web");
        shell.args(["-c", ACTIVATE, place::HOST]);
        let plugin = plugin("hello");
        let args = [&["--plugin", &plugin, "--workers", "1"][..], flags].concat();
        let mut server = Server::spawn(shell, &args, OwnedFd::from(listener).into());
        server.wait_ready(1);
        assert_eq!(server.addresses(), vec![address; count]);
        assert_eq!(server.get("/").text(), "hello world\n");
        server.finish();
    }
}

#[test]
fn a_missing_socket_is_a_usage_error() {
    use crate::support::once;
    let plugin = plugin("hello");
    let ended = once::run(&["serve", "--plugin", &plugin, "--listen", "systemd"]);
    once::assert_one_line(&ended, 2, &["--listen systemd: no socket was passed to us"]);
}

struct Manager {
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Manager {
    /// Waits for a message that has this line.
    fn wait(&mut self, line: &str) {
        wait_for(line, || {
            let mut bytes = [0; 4096];
            if let Ok(length) = self.socket.recv(&mut bytes) {
                self.seen.push(String::from_utf8(bytes[..length].to_vec()).expect("text"));
            }
            let at = self.seen.iter().position(|text| text.lines().any(|one| one == line))?;
            self.seen.drain(..=at);
            Some(())
        });
    }
}

#[test]
fn the_manager_hears_ready_reloading_stopping_and_the_watchdog() {
    let scratch = Scratch::new();
    let path = scratch.at("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set a time-out");
    let mut manager = Manager { socket, seen: Vec::new() };
    let mut command = Command::new(place::HOST);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut server = Server::start_command(command, &["--plugin", &plugin("hello")]);
    manager.wait("READY=1");
    for _ in 0..3 {
        manager.wait("WATCHDOG=1");
    }
    server.signal(Signal::SIGHUP);
    manager.wait("RELOADING=1");
    manager.wait("READY=1");
    server.signal(Signal::SIGTERM);
    manager.wait("STOPPING=1");
    assert_eq!(server.wait_end().code(), Some(0));
}
