//! Forks eight workers, and forks again when one ends if the environment says `REFORK`. To be run with
//! `--workers manual`.

use std::env;

use host::cluster::{self, Cluster, Event};

fn main() -> Result<(), cluster::ClusterError> {
    for _ in 0..8 {
        cluster::fork(&[])?;
    }
    let refork = env::var_os("REFORK").is_some();
    Cluster::new(8)
        .on(Event::Exit, move |alive, exit| {
            println!("worker {} ended: {}", exit.worker, exit.status);
            match refork.then(|| cluster::fork(&[])) {
                Some(Ok(_)) => return,
                Some(Err(error)) => eprintln!("fork: {error:?}"),
                None => {}
            }
            *alive -= 1;
            println!("{alive} workers are left");
        })
        .run();
    Ok(())
}
