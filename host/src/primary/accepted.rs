//! A connection on its way to a worker.

use std::os::fd::OwnedFd;

use super::WorkerId;
use super::crowd::Place;
use crate::ipc::message::Ends;
use crate::sys;

/// A connection that waits for a worker.
pub struct Accepted {
    pub fd: OwnedFd,
    pub ends: Ends,
    /// Bytes an earlier worker had read already.
    pub read: Vec<u8>,
    /// Set for a port that belongs to one worker.
    pub only: Option<WorkerId>,
    /// While its client's connections are counted.
    pub place: Option<Place>,
    /// What had been taken from the kernel when it began to wait.
    consumed: u64,
}

impl Accepted {
    /// Nobody can have read from it.
    pub fn fresh(fd: OwnedFd, ends: Ends, only: Option<WorkerId>) -> Accepted {
        Accepted { fd, ends, read: Vec::new(), only, place: None, consumed: 0 }
    }

    /// Another worker has served it before, and has read so much of what comes next.
    pub fn again(fd: OwnedFd, ends: Ends, read: Vec<u8>) -> Accepted {
        let consumed = sys::tcp_consumed(&fd).unwrap_or(0);
        Accepted { fd, ends, read, only: None, place: None, consumed }
    }

    /// Whether a worker that died had begun to read, without having come to say so. What it read is
    /// lost, and nobody who waited for the rest would ever answer.
    pub fn was_read(&self) -> bool {
        sys::tcp_consumed(&self.fd).is_some_and(|now| now != self.consumed)
    }
}
