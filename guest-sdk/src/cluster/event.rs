//! Events of the cluster, in Node's names.

use serde::{Serialize, de::DeserializeOwned};

use super::Settings;
use crate::{
    bindings::imports::host::cluster::{primary as raw, types},
    ipc::{self, Error, Message},
    process::{Signal, signal_name},
    tcp::Address,
};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A worker process was started.
    Fork(u32),
    /// Its plugin runs.
    Online(u32),
    /// It serves an address.
    Listening(Listening),
    /// It sent a message.
    Message(Received),
    /// Its channel is closed.
    Disconnect(u32),
    /// It ended.
    Exit(Exit),
    /// `setup` has been applied, or a reload of the operator's has changed the settings.
    Setup(Settings),
    /// The host got a signal.
    Signal(Signal),
    /// So many events were dropped because the program read too slowly.
    Lost(u64),
}

/// A worker serves an address.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The worker.
    pub worker: u32,
    /// The real address.
    pub address: Address,
}

/// A message of a worker.
#[derive(Debug, Clone)]
pub struct Received {
    /// The worker.
    pub worker: u32,
    /// What it sent.
    pub message: Message,
}

/// The end of a worker.
#[derive(Debug, Clone)]
pub struct Exit {
    /// The worker.
    pub worker: u32,
    /// Code or signal.
    pub status: Status,
    /// It was told to end; false if it ended by itself.
    pub exited_after_disconnect: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// By itself; 0 is success.
    Code(u8),
    /// By a signal.
    Signal(Signal),
    /// By a real-time signal.
    RealtimeSignal(u8),
}

impl Status {
    /// True for code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {}", signal_name(*signal)),
            Self::RealtimeSignal(number) => write!(f, "signal {number}"),
        }
    }
}

impl Received {
    /// The value that was sent.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.message.json()
    }

    /// Answers a request with a value.
    pub fn reply<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        self.reply_bytes(&serde_json::to_vec(value)?)
    }

    /// Answers a request with bytes.
    pub fn reply_bytes(&self, body: &[u8]) -> Result<(), Error> {
        let request = self.message.request_id().ok_or(Error::NoSuchRequest)?;
        let to = self.worker;
        ipc::block(|| raw::reply(to, request, body), || raw::subscribe_send(to))
    }
}

/// Names an event for [`Cluster::on`](super::Cluster::on), and knows what it carries.
pub struct Key<T>(pub(super) fn(&Happening) -> Option<&T>);

/// The events, as [`Cluster::on`](super::Cluster::on) takes them.
pub struct Event;

/// One constant: the event of this name, and what it carries.
macro_rules! key {
    ($name:ident, $data:ty, $docs:literal) => {
        #[doc = $docs]
        pub const $name: Key<$data> = Key(|happening| match happening {
            Happening::$name(data) => Some(data),
            _ => None,
        });
    };
}

#[expect(non_upper_case_globals, reason = "they read like the variants they stand for")]
impl Event {
    key!(Fork, u32, "A worker process was started.");
    key!(Online, u32, "A worker's plugin runs.");
    key!(Listening, Listening, "A worker serves an address.");
    key!(Message, Received, "A worker sent a message.");
    key!(Disconnect, u32, "A worker's channel is closed.");
    key!(Exit, Exit, "A worker ended.");
    key!(Setup, Settings, "`setup` has been applied.");
    key!(Signal, Signal, "The host got a signal.");
    key!(Lost, u64, "So many events were dropped.");
}

impl From<raw::Event> for Happening {
    fn from(event: raw::Event) -> Self {
        match event {
            raw::Event::Fork(worker) => Self::Fork(worker),
            raw::Event::Online(worker) => Self::Online(worker),
            raw::Event::Listening(event) => {
                Self::Listening(Listening { worker: event.worker, address: event.address.into() })
            }
            raw::Event::Message(event) => {
                Self::Message(Received { worker: event.worker, message: event.message.into() })
            }
            raw::Event::Disconnect(worker) => Self::Disconnect(worker),
            raw::Event::Exit(event) => Self::Exit(Exit {
                worker: event.worker,
                status: event.status.into(),
                exited_after_disconnect: event.exited_after_disconnect,
            }),
            raw::Event::Setup(settings) => Self::Setup(settings.into()),
            raw::Event::Signal(signal) => Self::Signal(signal),
            raw::Event::Lost(count) => Self::Lost(count),
        }
    }
}

impl From<types::ExitStatus> for Status {
    fn from(status: types::ExitStatus) -> Self {
        match status {
            types::ExitStatus::Code(code) => Self::Code(code),
            types::ExitStatus::Signal(signal) => Self::Signal(signal),
            types::ExitStatus::RealtimeSignal(number) => Self::RealtimeSignal(number),
        }
    }
}
