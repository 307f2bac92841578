//! Forks a worker for each word of the environment's `FAIL` (`panic`, `exit`, `abort`, `none`, with spaces between; one that
//! panics if it is unset), and tells how they ended. To be run with `--workers manual`.

use std::env;

use host::cluster::{self, Cluster, Event, Exit, Status};

fn main() -> host::Result<()> {
    let ways = env::var("FAIL").unwrap_or_else(|_| "panic".into());
    let ways: Vec<&str> = ways.split_whitespace().collect();
    let after = env::var("FAIL_AFTER").unwrap_or_else(|_| "5000".into());
    for way in &ways {
        cluster::fork(&[("FAIL", way), ("FAIL_AFTER", &after)])?;
    }
    Cluster::new(ways.len())
        .on(Event::Message, |_, message| {
            println!("{}", message.json().unwrap_or_else(|error| error.to_string()))
        })
        .on(Event::Exit, |alive, exit| {
            println!("{}", tell(exit));
            *alive -= 1;
        })
        .until(|alive| *alive == 0)
        .run();
    Ok(())
}

fn tell(exit: &Exit) -> String {
    match exit.status {
        Status::Code(0) => "worker success!".into(),
        Status::Code(code) => format!("worker exited with error code: {code}"),
        signal => format!("worker was killed by {signal}"),
    }
}
