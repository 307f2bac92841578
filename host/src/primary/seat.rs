//! A place for a worker, which outlives it.

use tokio::task::JoinHandle;

use super::WorkerId;
use super::backoff::Backoff;
use super::listen::Listener;

#[derive(Default)]
pub struct Seat {
    /// Serves.
    pub worker: Option<WorkerId>,
    /// Started, and takes the seat when it is ready.
    pub incoming: Option<WorkerId>,
    pub backoff: Backoff,
    /// How often a worker in here has died.
    pub restarts: u64,
    /// Under `--balance reuseport`: this seat's own listeners, kept open between two workers so
    /// that what they have queued is not lost.
    pub listeners: Vec<Listener>,
    /// `--listen-per-worker`: ends with the worker.
    pub own_port: Option<JoinHandle<()>>,
    /// Nobody replaces its worker: the primary program forked it, or told it to end.
    pub forked: bool,
    /// What the primary program added to the environment.
    pub env: Vec<(String, String)>,
}

impl Seat {
    /// Its worker is gone, and nobody will replace it.
    pub fn is_left(&self) -> bool {
        self.forked && self.worker.is_none() && self.incoming.is_none()
    }
}
