//! `host:cluster`: the programs that Node's tutorials teach, and what must hold for any program.

mod bad;
mod connections;
mod events;
mod messages;
mod primary;
mod process;
mod programs;
mod raw;
mod setup;
mod traffic;

use crate::support::{Server, plugin};

/// A line of a worker or the primary program, without the prefix that tells who printed it.
fn bare(line: &str) -> &str {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, text)) => text,
        None => line,
    }
}

/// What all of them have printed so far.
fn printed(server: &Server) -> Vec<String> {
    server.stdout.lines().iter().map(|line| bare(line).to_owned()).collect()
}

/// Serves a plugin with a primary program; `flags` may hold arguments after `--`.
fn with_primary(program: &str, name: &str, flags: &[&str]) -> Server {
    let (program, name) = (plugin(program), plugin(name));
    let files = ["--primary", program.as_str(), "--plugin", name.as_str()];
    Server::start(&[&files[..], flags].concat())
}
