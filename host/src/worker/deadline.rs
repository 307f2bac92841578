//! Time limits of what waits: how long a plugin may keep a request waiting, and how long plugin code
//! waits itself. A timer exists only once something has waited: most requests are answered in their
//! first poll and never pay for one.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

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

/// A time limit for one wait after the other. Its timer stays from one to the next, which mostly has
/// nearly the same end: one that goes off too early costs another look, setting it anew for every
/// wait costs more.
#[derive(Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// `None` if `wait` has not ended before the time is over.
    pub async fn within<F: Future>(&mut self, limit: Duration, wait: F) -> Option<F::Output> {
        let end = Instant::now() + limit;
        let mut wait = pin!(wait);
        poll_fn(|cx| match wait.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => self.poll_reached(end, cx).map(|()| None),
        })
        .await
    }

    fn poll_reached(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut();
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() == end {
            return Poll::Ready(());
        }
        timer.as_mut().reset(end);
        timer.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    /// What takes longer has got stuck.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn within_deadline(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await }).expect("in time");
    }

    #[test]
    fn an_alarm_ends_each_wait_at_its_own_time() {
        within_deadline(async {
            let mut alarm = Alarm::default();
            assert_eq!(alarm.within(HOUR, async { 5 }).await, Some(5));
            assert_eq!(alarm.within(HOUR, tokio::task::yield_now()).await, Some(()));
            for millis in [20, 40, 0, 10] {
                let (limit, start) = (Duration::from_millis(millis), Instant::now());
                assert!(alarm.within(limit, pending::<()>()).await.is_none());
                assert!(start.elapsed() >= limit, "{:?} of {limit:?}", start.elapsed());
            }
        });
    }

    #[test]
    fn an_alarm_left_by_a_wait_that_ended_does_not_end_the_next() {
        within_deadline(async {
            let mut alarm = Alarm::default();
            let short = Duration::from_millis(10);
            assert!(alarm.within(short, tokio::task::yield_now()).await.is_some());
            assert!(alarm.within(HOUR, sleep(short * 3)).await.is_some());
        });
    }
}
