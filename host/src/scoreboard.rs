//! The shared page a worker writes its counters to and the primary reads. One sealed-size memfd a
//! worker, so a worker can falsify only its own figures; the primary never trusts them for safety.
//! No message is sent, and the figures survive the worker's death.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};

use crate::sys::{self, SharedMap};

/// Upper bounds of the latency histogram in microseconds; one more bucket takes the rest.
pub const LATENCY_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

#[repr(C)]
#[derive(Default)]
pub struct Slot {
    /// Connections this worker has finished with, for whatever reason; never decreases.
    pub connections_closed: AtomicU64,
    /// Connections open now, as the worker counts them.
    pub connections_open: AtomicU64,
    pub requests_started: AtomicU64,
    /// Finished requests by status class: 1xx … 5xx.
    pub requests_by_class: [AtomicU64; 5],
    pub latency_buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    pub latency_sum_us: AtomicU64,
    pub instances: AtomicU64,
    pub instances_total: AtomicU64,
    pub guest_memory: AtomicU64,
    pub traps: AtomicU64,
    pub messages_sent: AtomicU64,
    pub messages_received: AtomicU64,
    /// The process id as the primary sees it, where the process cannot be told at its start.
    pub pid: AtomicU64,
    /// Not zero once an instance was refused memory.
    pub memory_refused: AtomicU64,
    /// The signal this worker is dying of, where its exit code alone would not tell.
    pub died_by: AtomicU64,
}

impl Slot {
    pub fn connection_opened(&self) {
        self.connections_open.fetch_add(1, Relaxed);
    }

    pub fn connection_closed(&self) {
        self.connections_open.fetch_sub(1, Relaxed);
        self.connections_closed.fetch_add(1, Relaxed);
    }

    pub fn request_started(&self) {
        self.requests_started.fetch_add(1, Relaxed);
    }

    pub fn request_finished(&self, status: u16, micros: u64) {
        let class = (status / 100).clamp(1, 5) as usize - 1;
        self.requests_by_class[class].fetch_add(1, Relaxed);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| micros > *bound);
        self.latency_buckets[bucket].fetch_add(1, Relaxed);
        self.latency_sum_us.fetch_add(micros, Relaxed);
    }

    pub fn instance_created(&self) {
        self.instances.fetch_add(1, Relaxed);
        self.instances_total.fetch_add(1, Relaxed);
    }

    pub fn instance_dropped(&self) {
        self.instances.fetch_sub(1, Relaxed);
    }
}

/// A mapped slot; clones share the mapping.
#[derive(Clone)]
pub struct Scoreboard(std::sync::Arc<SharedMap<Slot>>);

impl Scoreboard {
    /// A fresh slot and the descriptor to hand to the worker.
    pub fn create() -> Result<(Scoreboard, OwnedFd)> {
        let fd = sys::sized_memfd("host-scoreboard", sys::PAGE).context("create scoreboard")?;
        Ok((Self::map(&fd)?, fd))
    }

    pub fn map(fd: &impl AsFd) -> Result<Scoreboard> {
        let map = SharedMap::new(fd.as_fd()).context("map scoreboard")?;
        Ok(Scoreboard(std::sync::Arc::new(map)))
    }

    /// In a worker, whose pid namespace changes how the kernel ends it: notes signals here.
    pub fn note_death(&self) -> Result<()> {
        let kept: &'static Scoreboard = Box::leak(Box::new(self.clone()));
        sys::walls::note_fatal_signals(&kept.died_by)
    }
}

impl std::ops::Deref for Scoreboard {
    type Target = Slot;
    fn deref(&self) -> &Slot {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mappings_see_the_same_counts_and_every_latency_finds_a_bucket() {
        let (ours, fd) = Scoreboard::create().unwrap();
        let theirs = Scoreboard::map(&fd).unwrap();
        for micros in [0, 100, 101, 10_000_000, u64::MAX / 2] {
            theirs.request_finished(200, micros);
        }
        assert_eq!(ours.requests_by_class[1].load(Relaxed), 5);
        let counts: Vec<u64> = ours.latency_buckets.iter().map(|b| b.load(Relaxed)).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    }
}
