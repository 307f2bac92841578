//! What `host status` and the metrics show, read from scoreboards and /proc when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::fleet::Fleet;
use super::pool::{Phase, Pool};
use super::walls;
use super::workers::{State, Worker};
use crate::control::protocol::{Counters, PoolStatus, Reloads, Status, WorkerStatus};
use crate::scoreboard::Slot;
use crate::sys;

/// What a pool has been through; outlives its workers.
#[derive(Default)]
pub struct Tally {
    pub restarts: u64,
    /// Connections of clients that had too many.
    pub turned_away: u64,
    pub reloads: Reloads,
    /// What workers that have ended did, so that sums never go back.
    pub ended: Counters,
}

impl Fleet {
    pub fn status(&self) -> Status {
        let pid = std::process::id() as i32;
        Status {
            name: self.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid,
            uptime_ms: since(self.started),
            rss: sys::resident_memory(pid).unwrap_or(0),
            pools: self.pools.iter().map(Pool::status).collect(),
        }
    }
}

impl Pool {
    fn status(&self) -> PoolStatus {
        let state = match self.phase {
            Phase::Starting => "starting",
            Phase::Serving if self.reloads.is_active() => "reloading",
            Phase::Serving => "serving",
            Phase::Stopping => "stopping",
        };
        PoolStatus {
            name: self.config.name.clone(),
            plugin: self.config.plugin.display().to_string(),
            listen: self.addresses(),
            generation: self.current.number,
            state: state.to_owned(),
            seats: self.seats.len(),
            restarts: self.tally.restarts,
            turned_away: self.tally.turned_away,
            reloads: self.tally.reloads,
            accepts: self.phase == Phase::Serving
                && self.workers.values().any(|worker| self.is_seated(worker)),
            workers: self.workers.values().map(|worker| self.worker_status(worker)).collect(),
            ended: self.tally.ended.clone(),
        }
    }

    fn worker_status(&self, worker: &Worker) -> WorkerStatus {
        let state = match worker.state {
            State::Starting => "starting",
            State::Ready if self.is_seated(worker) => "serving",
            State::Ready => "ready",
            State::Draining => "draining",
            State::Lost => "lost",
        };
        let slot = &*worker.scoreboard;
        let counters = counters(slot);
        let seat = self.seats.get(worker.seat);
        WorkerStatus {
            id: worker.id.0,
            pid: worker.pid(),
            seat: worker.seat,
            generation: worker.generation.number,
            state: state.to_owned(),
            uptime_ms: since(worker.started),
            connections: slot.connections_open.load(Relaxed),
            instances: slot.instances.load(Relaxed),
            guest_memory: slot.guest_memory.load(Relaxed),
            rss: sys::resident_memory(worker.pid()).unwrap_or(0),
            restarts: seat.map_or(0, |seat| seat.restarts),
            walls: walls::of(worker),
            crash_loop: seat.is_some_and(|seat| seat.backoff.crash_looping()),
            p50_us: counters.quantile_us(0.5),
            p99_us: counters.quantile_us(0.99),
            counters,
        }
    }
}

pub fn counters(slot: &Slot) -> Counters {
    let load = |counter: &AtomicU64| counter.load(Relaxed);
    Counters {
        requests_started: load(&slot.requests_started),
        requests_by_class: std::array::from_fn(|class| load(&slot.requests_by_class[class])),
        latency_buckets: slot.latency_buckets.iter().map(load).collect(),
        latency_sum_us: load(&slot.latency_sum_us),
        connections_closed: load(&slot.connections_closed),
        instances_total: load(&slot.instances_total),
        traps: load(&slot.traps),
        messages_sent: load(&slot.messages_sent),
        messages_received: load(&slot.messages_received),
    }
}

fn since(start: Instant) -> u64 {
    start.elapsed().as_millis() as u64
}
