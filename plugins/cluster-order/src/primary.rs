//! Shows the order of events: forks one worker (1), hears that it listens (3) and sends it a message. To be run with
//! `--workers manual`.

use host::cluster::{self, Cluster, Event};
use serde::Serialize;

#[derive(Serialize)]
struct Command {
    cmd: &'static str,
    text: &'static str,
}

fn main() -> Result<(), cluster::ClusterError> {
    println!("1");
    cluster::fork(&[])?;
    Cluster::new(())
        .on(Event::Listening, |(), listening| {
            println!("3");
            let command = Command { cmd: "recvmsg", text: "TEST" };
            if let Err(error) = cluster::send(listening.worker, &command) {
                eprintln!("{error}");
            }
        })
        .run();
    Ok(())
}
