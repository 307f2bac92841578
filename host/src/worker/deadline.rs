//! How long a plugin may keep a request waiting. The timer exists only for requests that wait: most
//! are answered in their first poll and never pay for one.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

pub struct Deadline {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Zero never expires. Time counts from the first wait, which follows the start within one
    /// turn of the plugin.
    pub fn new(limit: Duration) -> Deadline {
        Deadline { limit, timer: None }
    }

    pub fn expired(&mut self, cx: &mut Context<'_>) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        let limit = self.limit;
        self.timer.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx).is_ready()
    }

    /// The plugin made progress.
    pub fn restart(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
    }

    /// Nobody waits any more.
    pub fn clear(&mut self) {
        self.timer = None;
    }
}
