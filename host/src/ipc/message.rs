//! Every message between the primary and its children. What comes *from* a child is untrusted.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::child;
use crate::config::ListenSpec;
use crate::primary::Address;
use crate::resolver::policy::Grant;
use crate::worker::settings::Settings;

/// Numbers a connection within the run of one primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// What a worker has to know of a connection, since it may not ask the kernel itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ends {
    /// `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// What a former owner, or the primary program, attached to it.
    pub state: Option<Vec<u8>>,
    /// What a former owner had read and not served, where the frame has no field for it.
    pub read: Vec<u8>,
}

/// One end of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketName {
    Ip(SocketAddr),
    Unix(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// First message. Descriptors: artifact, scoreboard, access log (if any), message line (if any),
    /// then one a `--dir`.
    Setup(Box<Settings>),
    /// A connection to serve. One descriptor. `read` are bytes an earlier worker had taken already.
    Connection { id: ConnectionId, ends: Ends, read: Vec<u8> },
    /// A listener to accept from, under `--balance shared` and `reuseport`. One descriptor.
    Listener { local: Option<SocketAddr> },
    /// Where outgoing connections come from, from now on. One descriptor.
    Resolver,
    /// What has become of child processes. Descriptors: see there.
    Child(child::News),
    /// For `signal-handler`; has no other effect.
    Signal(i32),
    /// Finish what is in flight, take nothing new, then exit.
    Drain {
        /// Give idle keep-alive connections back instead of closing them.
        hand_back: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromWorker {
    Ready,
    /// Start-up failed; the worker exits next.
    Failed(String),
    /// So did this one, because the machine code cannot be loaded: perhaps the cache's fault.
    BadArtifact(String),
    /// These connections have been read from: they now live and die with the worker.
    Took(Vec<ConnectionId>),
    /// It drains by its own decision: an instance called `exit`, or closed its messages.
    Leaving {
        disconnected: bool,
    },
    /// A child process to start or signal.
    Child(child::Order),
    /// An idle connection for another worker. One descriptor.
    HandBack {
        ends: Ends,
        read: Vec<u8>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum ToCompiler {
    /// Descriptor: the plugin's bytes in a sealed memfd.
    Compile,
    /// The same descriptor: only say what it exports and imports.
    Describe,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromCompiler {
    /// Descriptor: the artifact in a memfd, for the primary to seal.
    Done,
    Described {
        exports: Vec<String>,
        imports: Vec<String>,
    },
    Failed(String),
}

/// From a primary to the one that takes its place.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToHeir {
    /// First message.
    Estate {
        /// Name and path of the control socket.
        socket: Option<(String, PathBuf)>,
        /// The last worker id.
        worker: u32,
        /// The generation each pool serves.
        generations: Vec<(String, u64)>,
    },
    /// Descriptor: a listener of this pool.
    Listener {
        pool: String,
        spec: ListenSpec,
        address: Address,
        /// A socket file to remove at the end.
        unlink: Option<PathBuf>,
        inherited: bool,
    },
    /// Descriptor: the listener of `--metrics`.
    Metrics,
    /// That was everything there is until you serve.
    Complete,
    /// Descriptor: a connection between two requests.
    Connection { pool: String, ends: Ends, read: Vec<u8> },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromHeir {
    /// Every pool has its workers, and the listeners are being accepted from.
    Serving,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum ToResolver {
    /// What is allowed from now on.
    Grants(Vec<Grant>),
    /// Descriptor: the resolver's end of a worker's channel.
    Worker,
}

/// From a worker to the resolver.
#[derive(Debug, Serialize, Deserialize)]
pub struct WantsConnection {
    pub ticket: u64,
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromResolver {
    /// Descriptor: the connection.
    Connected {
        ticket: u64,
    },
    Refused {
        ticket: u64,
        why: Refusal,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    Denied,
    NotFound,
    Refused,
    TimedOut,
    Unreachable,
}
