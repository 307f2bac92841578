//! Sends `worker` each second, and after a while ends as the environment says: `FAIL` is `panic` (as when unset), `exit`,
//! `abort` or `none`, `FAIL_AFTER` the number of milliseconds (5000).

use std::{env, thread, time::Duration};

use host::{ipc, process};

fn main() -> host::Result<()> {
    let milliseconds =
        env::var("FAIL_AFTER").ok().and_then(|text| text.parse().ok()).unwrap_or(5000);
    let end = process::uptime() + Duration::from_millis(milliseconds);
    loop {
        ipc::send("worker")?;
        let left = end.saturating_sub(process::uptime());
        if left.is_zero() {
            break;
        }
        thread::sleep(left.min(Duration::from_secs(1)));
    }
    match env::var("FAIL").as_deref() {
        Ok("none") => Ok(()),
        Ok("exit") => process::exit(3),
        Ok("abort") => process::abort(),
        _ => panic!("the worker fails, as it was told to"),
    }
}
