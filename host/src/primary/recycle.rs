//! Replaces workers that have served their share of requests or have grown too large. Looks only
//! while one of the two limits is set; else nothing wakes up.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::pool::{Phase, Pool};
use super::workers::Worker;
use super::{Event, WorkerId};
use crate::config::PoolConfig;
use crate::sys;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// After a successor could not start.
const REST: Duration = Duration::from_secs(10);

impl Pool {
    /// Starts or ends looking, after the configuration has changed.
    pub fn watch_limits(&mut self) {
        let wanted = self.config.max_requests.is_some() || self.config.max_worker_memory.is_some();
        if !wanted {
            if let Some(task) = self.inspector.take() {
                task.abort();
            }
        } else if self.inspector.is_none() {
            let events = self.links.events.clone();
            self.inspector = Some(tokio::task::spawn_local(async move {
                let mut ticks = tokio::time::interval(LOOK_EVERY);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    if events.send(Event::Inspect).is_err() {
                        return;
                    }
                }
            }));
        }
    }

    /// Replaces one worker that is over a limit: never two of a pool at a time.
    pub fn inspect(&mut self) {
        let busy = self.seats.iter().any(|seat| seat.incoming.is_some());
        let resting = self.recycle_after.is_some_and(|until| Instant::now() < until);
        if self.phase != Phase::Serving || self.reloads.is_active() || busy || resting {
            return;
        }
        let mut seated = self.workers.values().filter(|worker| self.is_seated(worker));
        let over = seated.find_map(|worker| Some((worker, over_limit(worker, &self.config)?)));
        let Some((worker, why)) = over else { return };
        self.log(&format!("worker {} {why}; replacing it", worker.id));
        if let Err(error) = self.replace_running(worker.seat) {
            self.log(&format!("{error:#}"));
            self.rest_from_recycling();
        }
    }

    pub fn rest_from_recycling(&mut self) {
        self.recycle_after = Some(Instant::now() + REST);
    }
}

fn over_limit(worker: &Worker, config: &PoolConfig) -> Option<String> {
    let requests = worker.scoreboard.requests_started.load(Relaxed);
    if config.max_requests.is_some_and(|limit| requests >= limit + jitter(worker.id, limit)) {
        return Some(format!("has served {requests} requests"));
    }
    let most = config.max_worker_memory?;
    let resident = sys::resident_memory(worker.pid())?;
    (resident > most).then(|| format!("has {} MiB resident", resident >> 20))
}

/// Up to a tenth of the limit more, another part of it for each worker, so that workers which
/// started together do not end together.
fn jitter(id: WorkerId, limit: u64) -> u64 {
    let scattered = u64::from(id.0.wrapping_mul(0x9e37_79b9) >> 16);
    scattered * (limit / 10) / 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth_and_differs_between_neighbours() {
        let all: Vec<u64> = (1..=64).map(|id| jitter(WorkerId(id), 10_000)).collect();
        assert!(all.iter().all(|more| *more <= 1000), "{all:?}");
        assert!(all.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 50), "{all:?}");
        assert_eq!(jitter(WorkerId(7), 5), 0);
    }
}
