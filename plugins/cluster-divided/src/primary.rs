//! Prints what its worker says. Forks one if that is left to the program (`--workers manual`).

use host::cluster::{self, Cluster, Event, WorkerCount};

fn main() -> host::Result<()> {
    if let WorkerCount::Manual = cluster::settings().workers {
        cluster::fork(&[])?;
    }
    Cluster::new(())
        .on(Event::Message, |(), message| match message.json::<String>() {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("worker {}: {error}", message.worker),
        })
        .run();
    Ok(())
}
