//! Plugins that get the connections themselves.

use crate::support::{Connection, Server};
use std::io::Write;

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
    let sending = std::thread::spawn(move || {
        writer.write_all(&copy).expect("send");
        writer.shutdown(std::net::Shutdown::Write).expect("shut down");
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
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
    let mut client = server.connect();
    client.send("are you there?\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    process::signal(worker, Signal::SIGKILL);
    client.until("are you there?\n");
    drop(client);
    server.finish();
}
