//! Plugins that get the connections themselves.

use crate::support::{Connection, Server, settled, wait_for};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn echo_serves_many_connections_at_once_in_one_worker() {
    let server = Server::serving("echo-tcp", &["--workers", "1"]);
    let mut clients: Vec<Connection> = (0..64).map(|_| server.connect()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("{number} in round {round}\n"));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.until(&format!("{number} in round {round}\n"));
        }
    }
    drop(clients);
    server.finish();
}

#[test]
fn echo_passes_megabytes_on_to_a_client_that_reads_late() {
    let server = Server::serving("echo-tcp", &["--workers", "1"]);
    let mut client = server.connect();
    let mut writer = client.writer();
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let sending = std::thread::spawn(move || {
        for piece in copy.chunks(10_000) {
            writer.write_all(piece).expect("send");
            counted.fetch_add(piece.len(), Relaxed);
        }
        writer.shutdown(std::net::Shutdown::Write).expect("shut down");
    });
    // Everything on the way is full, or all is sent.
    wait_for("the first byte to be sent", || (count.load(Relaxed) > 0).then_some(()));
    settled(|| count.load(Relaxed));
    assert!(client.rest() == sent, "what came back differs");
    sending.join().unwrap();
    server.finish();
}

#[test]
fn connections_a_dead_worker_had_not_taken_are_served_by_another() {
    use crate::support::process;
    use nix::sys::signal::Signal;
    let server = Server::serving("echo-tcp", &["--workers", "1"]);
    let worker = server.workers()[0];
    process::signal(worker, Signal::SIGSTOP);
    let before = process::open_files(server.pid());
    let mut client = server.connect();
    client.send("are you there?\n");
    // The primary keeps a copy of what it gives away, and answers later than it does that.
    wait_for("it to be accepted", || (process::open_files(server.pid()) > before).then_some(()));
    server.status();
    process::signal(worker, Signal::SIGKILL);
    client.until("are you there?\n");
    drop(client);
    server.finish();
}
