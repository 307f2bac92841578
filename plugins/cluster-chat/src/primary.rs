//! Passes every line of every worker on to all of them.

use host::cluster::{self, Cluster, Event};

fn main() {
    Cluster::new(())
        .on(Event::Message, |(), message| match cluster::broadcast_bytes(&message.message.body) {
            Ok(skipped) => {
                for (worker, reason) in skipped {
                    eprintln!("worker {worker} missed a line: {reason}");
                }
            }
            Err(error) => eprintln!("{error}"),
        })
        .run();
}
