//! The threads that read and write granted files for the plugin. No thread can be made once the
//! walls are complete, so all of them start before that, and stay.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, Result};

/// A plugin that lists a directory without reading on keeps one of them.
pub const COUNT: usize = 4;
/// Longer than any worker lives.
pub const STAY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const DEADLINE: Duration = Duration::from_secs(5);

pub async fn start() -> Result<()> {
    // None is done before all are there: that makes the runtime start a thread for each.
    let all_there = Arc::new(Barrier::new(COUNT));
    let wait = |_| {
        let all_there = all_there.clone();
        tokio::task::spawn_blocking(move || {
            all_there.wait();
        })
    };
    let tasks: Vec<_> = (0..COUNT).map(wait).collect();
    let started = tokio::time::timeout(DEADLINE, futures::future::try_join_all(tasks)).await;
    started.context("file threads not there within 5s")?.context("start file threads")?;
    Ok(())
}
