//! What the primary and the primary program tell each other. The program is untrusted: it asks, and
//! the primary judges.

use serde::{Deserialize, Serialize};

use super::child;
use super::message::{Ends, SocketName};
use crate::worker::settings::Settings;

#[derive(Debug, Serialize, Deserialize)]
pub enum ToProgram {
    /// First message. Descriptors: artifact, scoreboard, one a granted directory, and with any of these
    /// the line to who opens what is beneath them.
    Start(Box<Settings>, Box<Cluster>),
    /// Descriptors: the program's two of the worker's message line, if it has one.
    Forked {
        worker: u32,
        pid: u32,
        generation: u64,
    },
    Online(u32),
    Listening {
        worker: u32,
        addresses: Vec<SocketName>,
    },
    Exited {
        worker: u32,
        status: Status,
        told: bool,
    },
    /// The settings have been changed.
    Changed(Box<Cluster>),
    Signal(i32),
    /// Who opens files is another process now. Descriptor: a line to it.
    Files,
    /// What has become of child processes. Descriptors: see there.
    Child(child::News),
    /// A connection to hand out. One descriptor.
    Connection(Ends),
    Answer {
        ticket: u64,
        answer: Answer,
    },
    /// The host is stopping.
    Draining,
    /// The host stops and all workers have ended.
    Over,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromProgram {
    Ready,
    /// Start-up failed; the program exits next.
    Failed(String),
    Ask {
        ticket: u64,
        question: Question,
    },
    /// A child process to start or signal.
    Child(child::Order),
    /// So many connections have left the queue.
    Accepted(u32),
    /// A connection for a worker. One descriptor.
    HandOver {
        worker: u32,
        ends: Ends,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Code(u8),
    Signal(i32),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    Fork(Vec<(String, String)>),
    Kill { worker: u32, signal: i32 },
    Disconnect(Option<u32>),
    Setup(Changes),
    Reload,
    Workers,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    pub plugin: Option<String>,
    pub arguments: Option<Vec<String>>,
    pub silent: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Forked(u32),
    Workers(Vec<Seen>),
    No(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    UnknownWorker,
    WorkerGone,
    TooMany(u32),
    Invalid(String),
    UnknownPlugin,
    Stopping,
    Busy,
}

/// A worker that has not ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub id: u32,
    pub pid: u32,
    pub generation: u64,
    pub stage: Stage,
    pub told: bool,
    pub connections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Starting,
    Online,
    Listening,
    Draining,
}

/// What the cluster runs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub plugin: String,
    /// What `setup` may name.
    pub plugins: Vec<String>,
    pub arguments: Vec<String>,
    pub silent: bool,
    /// `None` leaves forking to the program.
    pub workers: Option<u32>,
    pub max_workers: u32,
    /// The word of `--balance`.
    pub balance: String,
    pub listen: Vec<SocketName>,
    pub drain_timeout_ns: u64,
}
