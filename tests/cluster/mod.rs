//! `host:cluster`: the programs that Node's tutorials teach, and what must hold for any program.

mod events;
mod messages;
mod programs;
mod raw;

use crate::support::Server;

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
