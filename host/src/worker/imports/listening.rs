//! Accepted connections that wait for plugin code to take them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::bindings::cluster::connections::ConnectionError;
use super::socket::Socket;
use crate::ipc::line::until;
use crate::ipc::message::{Ends, SocketName};

/// Who takes accepted connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Taker {
    /// The HTTP server: plugins see no listeners.
    Http = 0,
    /// `connection-handler`.
    Handler = 1,
    /// Whoever calls `accept`.
    Accept = 2,
}

/// The listeners of a worker, as plugins see them.
pub struct Listening {
    pub(super) queues: Vec<Arc<Queue>>,
    taker: AtomicU8,
    pub(super) next_id: AtomicU64,
}

#[derive(Default)]
pub struct Queue {
    pub(super) name: Option<SocketName>,
    waiting: Mutex<VecDeque<Incoming>>,
    news: Notify,
    closed: AtomicBool,
}

/// An accepted connection nobody has taken yet.
pub struct Incoming {
    pub socket: Socket,
    pub ends: Ends,
    /// Called when plugin code gets it.
    pub took: Option<Box<dyn FnOnce() + Send>>,
}

impl Incoming {
    /// For another worker: nobody has touched it.
    pub fn release(self) -> Option<(std::os::fd::OwnedFd, Ends)> {
        let (fd, read) = self.socket.release().ok()?;
        Some((fd, Ends { read: read.to_vec(), ..self.ends }))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Incoming>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn push(&self, incoming: Incoming) {
        self.lock().push_back(incoming);
        self.news.notify_waiters();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub fn pop(&self) -> Result<Incoming, ConnectionError> {
        match self.lock().pop_front() {
            Some(incoming) => Ok(incoming),
            None if self.closed.load(Relaxed) => Err(ConnectionError::Closed),
            None => Err(ConnectionError::WouldBlock),
        }
    }

    /// Takes no more; returns what nobody has accepted.
    pub fn close(&self) -> VecDeque<Incoming> {
        self.closed.store(true, Relaxed);
        let waiting = std::mem::take(&mut *self.lock());
        self.news.notify_waiters();
        waiting
    }

    pub async fn wait(&self) {
        until(&self.news, || self.closed.load(Relaxed) || !self.lock().is_empty()).await
    }

    /// Whether a connection with this end of ours came in here.
    fn admits(&self, ends: &Ends) -> bool {
        match (&self.name, ends.local) {
            (Some(SocketName::Ip(name)), Some(local)) => {
                name.port() == local.port()
                    && (name.ip() == local.ip() || name.ip().is_unspecified())
            }
            (Some(SocketName::Unix(_)), None) => true,
            _ => false,
        }
    }
}

impl Listening {
    pub fn new(names: &[SocketName]) -> Listening {
        let queue =
            |name: &SocketName| Arc::new(Queue { name: Some(name.clone()), ..Queue::default() });
        Listening {
            queues: names.iter().map(queue).collect(),
            taker: AtomicU8::new(Taker::Http as u8),
            next_id: AtomicU64::new(1),
        }
    }

    pub fn set_taker(&self, taker: Taker) {
        self.taker.store(taker as u8, Relaxed);
    }

    pub fn is_for(&self, taker: Taker) -> bool {
        self.taker.load(Relaxed) == taker as u8
    }

    /// Where `accept` finds it. An address of its own (`--listen-per-worker`) counts as the first.
    /// Comes back if nothing is accepted any more.
    pub fn push(&self, incoming: Incoming) -> Option<Incoming> {
        let queue = self.queues.iter().find(|queue| queue.admits(&incoming.ends));
        match queue.or(self.queues.first()).filter(|queue| !queue.is_closed()) {
            Some(queue) => queue.push(incoming),
            None => return Some(incoming),
        }
        None
    }

    pub fn close(&self) -> Vec<Incoming> {
        self.queues.iter().flat_map(|queue| queue.close()).collect()
    }
}
