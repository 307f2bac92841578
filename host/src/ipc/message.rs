//! Every message between the primary and its children. What comes *from* a child is untrusted.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::child;
use crate::config::ListenSpec;
use crate::primary::Address;
use crate::resolver::policy::Grant;
use crate::worker::settings::Settings;

/// More of an error than this is not a reason but what caused it, quoted.
const MAX_REASON: usize = 4000;

/// An error as it travels: its text may quote a plugin, and a frame has a limit.
pub fn brief(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}");
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}

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
    /// First message. Descriptors: artifact, scoreboard, access log (if any), the two of the
    /// message line (if any), then one a `--dir`.
    Setup(Box<Settings>),
    /// A connection to serve. One descriptor. `read` are bytes an earlier worker had taken already.
    Connection { id: ConnectionId, ends: Ends, read: Vec<u8> },
    /// A listener to accept from, under `--balance shared` and `reuseport`. One descriptor.
    Listener { local: Option<SocketAddr> },
    /// Where outgoing connections come from, from now on. One descriptor.
    Resolver,
    /// Descriptor: a line to whoever opens files, in place of the one that came with the set-up.
    Files,
    /// What has become of child processes. Descriptors: see there.
    Child(child::News),
    /// Another share of `max_requests_in_flight`, as there are more or fewer workers.
    MayAnswer(u32),
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
    /// These connections, all told of as taken before, are closed or handed back. Only said if the
    /// settings ask for it.
    Ended(Vec<ConnectionId>),
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

#[cfg(any(test, fuzzing))]
pub mod fuzz {
    use super::*;
    use crate::sys::trap::Call;

    /// What other processes say to the primary, and to those that open things for them.
    pub fn frames(bytes: &[u8]) {
        decodes::<FromWorker>(bytes);
        decodes::<FromCompiler>(bytes);
        decodes::<FromResolver>(bytes);
        decodes::<WantsConnection>(bytes);
        decodes::<Call>(bytes);
    }

    /// Connections that change hands, between two primaries and to a worker.
    pub fn handover(bytes: &[u8]) {
        decodes::<ToHeir>(bytes);
        decodes::<FromHeir>(bytes);
        decodes::<ToWorker>(bytes);
    }

    /// What is decoded can be encoded again, and is no larger than what it came from: nothing in it
    /// is out of its type's range.
    fn decodes<T: Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
        if let Ok(message) = postcard::from_bytes::<T>(bytes) {
            let again = postcard::to_stdvec(&message).expect("what was decoded can be encoded");
            assert!(again.len() <= 2 * bytes.len() + 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;

    fn ends() -> Ends {
        let address = "127.0.0.1:8080".parse().ok();
        Ends { peer: address, local: address, state: Some(vec![1, 2]), read: b"GET /".to_vec() }
    }

    fn encoded(message: &impl Serialize) -> Vec<u8> {
        postcard::to_stdvec(message).unwrap()
    }

    #[test]
    fn no_frame_of_a_worker_panics_or_grows() {
        let samples = [
            encoded(&FromWorker::Ready),
            encoded(&FromWorker::Failed("no database".into())),
            encoded(&FromWorker::BadArtifact("cut short".into())),
            encoded(&FromWorker::Took((0..20).map(ConnectionId).collect())),
            encoded(&FromWorker::Ended(vec![ConnectionId(7)])),
            encoded(&FromWorker::Leaving { disconnected: true }),
            encoded(&FromWorker::HandBack { ends: ends(), read: b"GET / HTTP".to_vec() }),
        ];
        fuzz::mutated(&samples, super::fuzz::frames);
    }

    #[test]
    fn no_frame_of_compiler_or_resolver_panics_or_grows() {
        let names = || vec!["wasi:http/handler".to_owned(); 3];
        let samples = [
            encoded(&FromCompiler::Done),
            encoded(&FromCompiler::Described { exports: names(), imports: names() }),
            encoded(&FromCompiler::Failed("not a component".into())),
            encoded(&FromResolver::Refused { ticket: 7, why: Refusal::Denied }),
            encoded(&WantsConnection { ticket: 7, host: "example.com".into(), port: 443 }),
            encoded(&crate::sys::trap::Call::ReadLink { path: c"some/where".into() }),
        ];
        fuzz::mutated(&samples, super::fuzz::frames);
        fuzz::known("ipc_frames", super::fuzz::frames);
    }

    #[test]
    fn no_handed_over_connection_panics_or_grows() {
        let read = b"GET / HTTP/1.1\r\n".to_vec();
        let samples = [
            encoded(&ToHeir::Connection { pool: "hello".into(), ends: ends(), read: read.clone() }),
            encoded(&ToHeir::Complete),
            encoded(&FromHeir::Serving),
            encoded(&ToWorker::Connection { id: ConnectionId(3), ends: ends(), read }),
        ];
        fuzz::mutated(&samples, super::fuzz::handover);
        fuzz::known("handover", super::fuzz::handover);
    }
}
