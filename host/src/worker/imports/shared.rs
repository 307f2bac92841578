//! What all instances of one process share: who it is, its message line, the connections that wait
//! to be accepted, and its end.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use anyhow::Result;
use tokio::sync::{Notify, mpsc};

use super::child::Children;
use super::listening::Listening;
use super::program::Program;
use crate::ipc::line::{Line, Pipes, until};
use crate::ipc::message::Ends;
use crate::sandbox::Walls;
use crate::scoreboard::Scoreboard;
use crate::worker::epoch::Turns;
use crate::worker::settings::Settings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Worker,
    PrimaryProgram,
    /// Started as a child process.
    Program,
}

/// What an instance wants of its process.
#[derive(Debug)]
pub enum Wish {
    Exit(u8),
    Abort,
    /// The message line has been closed: drain and end.
    Leave,
    /// A connection for another worker.
    HandBack {
        fd: OwnedFd,
        ends: Ends,
    },
}

/// How a drain treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nobody takes them over.
    Alone,
    HandBack,
}

/// What a process may look at only before its walls close.
pub struct Facts {
    /// Resident memory.
    pub statm: Option<File>,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl Facts {
    pub fn gather(walls: &Walls) -> Facts {
        use nix::unistd::{getgid, getgroups, getuid};
        let groups = getgroups().unwrap_or_default();
        Facts {
            statm: File::open("/proc/self/statm").ok(),
            uid: walls.uid.unwrap_or(getuid().as_raw()),
            gid: walls.uid.unwrap_or(getgid().as_raw()),
            groups: match walls.uid {
                Some(_) => Vec::new(),
                None => groups.into_iter().map(|group| group.as_raw()).collect(),
            },
        }
    }
}

/// What a process gets besides its settings.
pub struct Attached {
    pub facts: Facts,
    pub messages: Option<Pipes>,
    pub program: Option<Program>,
}

pub struct Shared {
    pub role: Role,
    pub settings: Settings,
    pub started: Instant,
    pub title: Mutex<String>,
    pub scoreboard: Scoreboard,
    pub facts: Facts,
    pub line: Option<Line>,
    pub handles_messages: AtomicBool,
    pub listening: Listening,
    pub program: Option<Program>,
    pub children: Children,
    pub turns: Arc<Turns>,
    draining: OnceLock<Drained>,
    drains: Arc<Notify>,
    /// Some instance has looked at `draining`, so it will do something about it.
    pub watches_drain: AtomicBool,
    wishes: mpsc::UnboundedSender<Wish>,
}

impl Shared {
    /// Must be called inside the runtime. Wishes come out at the receiver.
    pub fn new(
        role: Role,
        settings: Settings,
        scoreboard: Scoreboard,
        Attached { facts, messages, program }: Attached,
    ) -> Result<(Arc<Shared>, mpsc::UnboundedReceiver<Wish>)> {
        let max = settings.process.max_message_size as usize;
        let line = messages.map(|pipes| Line::start(pipes, max, Arc::default())).transpose()?;
        let (wishes, wished) = mpsc::unbounded_channel();
        let shared = Shared {
            role,
            started: Instant::now(),
            title: Mutex::new(settings.plugin.clone()),
            scoreboard,
            facts,
            line,
            handles_messages: AtomicBool::new(false),
            listening: Listening::new(&settings.process.listen),
            program,
            turns: Turns::new(),
            children: Children::new(settings.programs.clone(), max),
            draining: OnceLock::new(),
            drains: Arc::default(),
            watches_drain: AtomicBool::new(false),
            wishes,
            settings,
        };
        Ok((Arc::new(shared), wished))
    }

    pub fn wish(&self, wish: Wish) {
        let _ = self.wishes.send(wish);
    }

    pub fn draining(&self) -> Option<Drained> {
        self.draining.get().copied()
    }

    pub fn start_draining(&self, how: Drained) {
        let _ = self.draining.set(how);
        self.drains.notify_waiters();
        for incoming in self.listening.close() {
            if let (Drained::HandBack, Some((fd, ends))) = (how, incoming.release()) {
                self.wish(Wish::HandBack { fd, ends });
            }
        }
    }

    pub async fn wait_draining(self: Arc<Shared>) {
        until(&self.drains, || self.draining.get().is_some()).await
    }

    pub fn watches_drain(&self) -> bool {
        self.watches_drain.load(Relaxed)
    }
}
