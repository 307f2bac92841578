//! Counts the requests that all workers together have answered, and prints the number each second.

use std::time::Duration;

use host::cluster::{Cluster, Event};
use serde::Deserialize;

#[derive(Deserialize)]
struct Notify {
    cmd: String,
}

fn main() {
    Cluster::new(0_u64)
        .on(Event::Message, |requests, message| {
            if message.json().is_ok_and(|notify: Notify| notify.cmd == "notifyRequest") {
                *requests += 1;
            }
        })
        .every(Duration::from_secs(1), |requests| println!("numReq = {requests}"))
        .run();
}
