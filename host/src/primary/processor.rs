//! The processor time that the programs of one plugin may use together (`--max-children-cpu`).

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::pool::Pool;
use super::starter::Starter;
use super::{Event, Events};
use crate::sys;

/// What the limit is of.
const WINDOW: Duration = Duration::from_secs(60);
/// How often it is looked at while programs run, and so how late a limit can be noticed.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Processor {
    /// Every program is a descendant of one of them.
    starters: Vec<Seen>,
    window: Window,
    looking: Option<JoinHandle<()>>,
}

/// A starter, and what is known to have been used beneath it.
struct Seen {
    starter: Weak<Starter>,
    pid: i32,
    used: Duration,
}

/// What was used lately, and when that was seen.
#[derive(Default)]
struct Window(VecDeque<(Instant, Duration)>);

impl Window {
    fn add(&mut self, now: Instant, used: Duration) {
        self.0.push_back((now, used));
    }

    fn sum(&mut self, now: Instant) -> Duration {
        while self.0.front().is_some_and(|(then, _)| now.duration_since(*then) >= WINDOW) {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, used)| *used).sum()
    }
}

impl Processor {
    /// Whether that much was used within the last minute.
    pub fn has_used(&mut self, limit: Duration) -> bool {
        self.window.sum(Instant::now()) >= limit
    }

    fn know(&mut self, starter: &Rc<Starter>) {
        if self.starters.iter().all(|seen| seen.pid != starter.pid()) {
            let (pid, starter) = (starter.pid(), Rc::downgrade(starter));
            self.starters.push(Seen { starter, pid, used: Duration::ZERO });
        }
    }

    fn saw(&mut self, all: &[(i32, Duration)]) {
        let mut more = Duration::ZERO;
        for (pid, used) in all {
            if let Some(seen) = self.starters.iter_mut().find(|seen| seen.pid == *pid) {
                // A process that ends while all are read may be missed that once.
                more += used.saturating_sub(seen.used);
                seen.used = seen.used.max(*used);
            }
        }
        self.window.add(Instant::now(), more);
        self.starters.retain(|seen| seen.starter.strong_count() > 0);
    }
}

impl Pool {
    /// A program runs beneath it from now on.
    pub fn count_processor_time(&mut self, starter: &Rc<Starter>) {
        if self.config.children.cpu.is_some() {
            self.children.processor.know(starter);
            self.look_at_processor_time();
        }
    }

    pub fn saw_processor_time(&mut self, all: &[(i32, Duration)]) {
        let processor = &mut self.children.processor;
        processor.looking = None;
        processor.saw(all);
        // One look more than there are programs has seen all that they used.
        if self.children.is_empty() {
            return;
        }
        let limit = self.config.children.cpu;
        if let Some(limit) = limit.filter(|limit| self.children.processor.has_used(*limit)) {
            self.log(&format!(
                "killing child processes: together they used {limit:?} of processor time within a \
                 minute (--max-children-cpu)"
            ));
            self.children.use_up();
        }
        self.look_at_processor_time();
    }

    fn look_at_processor_time(&mut self) {
        let processor = &mut self.children.processor;
        if processor.looking.is_none() {
            let pids: Vec<i32> = processor.starters.iter().map(|seen| seen.pid).collect();
            let look = look(pids, self.links.events.clone());
            processor.looking = Some(tokio::task::spawn_local(look));
        }
    }
}

async fn look(pids: Vec<i32>, events: Events) {
    tokio::time::sleep(LOOK).await;
    // Reading what there is of all processes takes longer than the loop may stand still.
    let used = tokio::task::spawn_blocking(move || {
        let used = sys::usage::beneath(&pids);
        pids.into_iter().zip(used).collect()
    });
    let _ = events.send(Event::ProcessorTime(used.await.unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_counts_for_a_minute() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.add(start, Duration::from_secs(2));
        window.add(start + Duration::from_secs(30), Duration::from_secs(3));
        assert_eq!(window.sum(start + Duration::from_secs(59)), Duration::from_secs(5));
        assert_eq!(window.sum(start + Duration::from_secs(60)), Duration::from_secs(3));
        assert_eq!(window.sum(start + Duration::from_secs(90)), Duration::ZERO);
    }
}
