//! Answers a request, and ends its worker one second later.

use std::time::Duration;

use host::{process, task};

#[host::http]
async fn hello() -> String {
    task::spawn(async {
        task::sleep(Duration::from_secs(1)).await;
        process::exit(0);
    });
    format!("hello world from {}\n", process::identity().pid)
}
