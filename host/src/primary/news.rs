//! What happens in a pool, told to whoever listens: `host events` and the primary program. Telling
//! never waits; a listener who falls behind loses the oldest and learns how many.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::broadcast;

use super::WorkerId;
use super::child::End;
use crate::sys;

/// Happenings kept for a listener who is slow.
const KEPT: usize = 1024;

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A worker process was started.
    Fork {
        worker: WorkerId,
        pid: i32,
        generation: u64,
    },
    /// It has loaded the plugin.
    Online {
        worker: WorkerId,
    },
    /// It gets connections from now on.
    Listening {
        worker: WorkerId,
    },
    /// Its channel is closed: it will take nothing more.
    Disconnect {
        worker: WorkerId,
    },
    Exit {
        worker: WorkerId,
        code: Option<i32>,
        signal: Option<String>,
    },
    /// It keeps dying early and is restarted ever more slowly.
    CrashLoop {
        worker: WorkerId,
        deaths: u32,
    },
    ReloadStarted {
        generation: u64,
    },
    ReloadDone {
        generation: u64,
        ms: u64,
    },
    ReloadFailed {
        generation: u64,
        why: String,
    },
    RolledBack {
        from: u64,
        to: u64,
    },
    Scaled {
        from: usize,
        to: usize,
    },
    Stopping,
}

impl What {
    pub fn exit(worker: WorkerId, end: End) -> What {
        match end {
            End::Code(code) => What::Exit { worker, code: Some(code), signal: None },
            End::Signal(number) => {
                What::Exit { worker, code: None, signal: Some(sys::signal_name(number)) }
            }
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Happening {
    /// Milliseconds since 1970.
    pub time: u64,
    pub pool: String,
    #[serde(flatten)]
    pub what: What,
}

/// A handle to tell with; clones share the listeners.
#[derive(Clone)]
pub struct News {
    listeners: broadcast::Sender<Rc<Happening>>,
    pool: Rc<str>,
}

impl News {
    pub fn new() -> News {
        News { listeners: broadcast::Sender::new(KEPT), pool: "".into() }
    }

    /// The same listeners, for the happenings of this pool.
    pub fn of(&self, pool: &str) -> News {
        News { listeners: self.listeners.clone(), pool: pool.into() }
    }

    pub fn tell(&self, what: What) {
        if self.listeners.receiver_count() > 0 {
            let happening = Happening { time: now_ms(), pool: self.pool.to_string(), what };
            let _ = self.listeners.send(Rc::new(happening));
        }
    }

    pub fn listen(&self) -> broadcast::Receiver<Rc<Happening>> {
        self.listeners.subscribe()
    }
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
