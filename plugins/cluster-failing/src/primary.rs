//! Forks a worker for each of its arguments (`panic`, `exit`, `abort`, `none`), one that panics if there are none, and
//! tells how they ended. To be run with `--workers manual`.

use std::env;

use host::cluster::{self, Cluster, Event, Exit, Status};

fn main() -> host::Result<()> {
    let mut ways: Vec<String> = env::args().skip(1).collect();
    if ways.is_empty() {
        ways.push("panic".into());
    }
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
