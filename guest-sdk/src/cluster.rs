//! The primary program's side; Node's `cluster` in the primary.
//!
//! A primary program is a plain command, given with `--primary main.wasm`:
//!
//! ```no_run
//! use std::time::Duration;
//! use host::cluster::{Cluster, Event};
//!
//! fn main() {
//!     Cluster::new(0_u64)
//!         .on(Event::Message, |requests, _| *requests += 1)
//!         .on(Event::Exit, |_, exit| println!("worker {} ended: {}", exit.worker, exit.status))
//!         .every(Duration::from_secs(1), |requests| println!("numReq = {requests}"))
//!         .run();
//! }
//! ```
//!
//! The functions of this module act on the workers, from anywhere in the program. In a plugin they do not exist: the
//! host refuses to start a plugin that calls one.

mod event;
mod run;

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

pub use self::event::{Event, Exit, Happening, Key, Listening, Received, Status};
pub use self::run::{Cluster, next, try_next};
pub use crate::bindings::imports::host::cluster::primary::{
    Balance, ClusterError, WorkerCount, WorkerState,
};

use crate::{
    bindings::imports::host::cluster::{connections::ConnectionError, primary as raw},
    ipc::{self, Error as MessageError},
    process::Signal,
    tcp::{Address, Connection, Refused, refused},
};

/// A worker that has not ended.
#[derive(Debug, Clone)]
pub struct Worker {
    /// 1, 2, 3 …
    pub id: u32,
    /// Its process id.
    pub pid: u32,
    /// Which plugin version it runs.
    pub generation: u32,
    /// How far it has come.
    pub state: WorkerState,
    /// Messages can be sent.
    pub connected: bool,
    /// It was told to disconnect.
    pub exited_after_disconnect: bool,
    /// Open connections of clients.
    pub connections: u32,
}

/// What the cluster runs with; see `cluster-settings` in `wit/primary.wit`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the WIT record, which documents them")]
pub struct Settings {
    pub plugin: String,
    pub plugins: Vec<String>,
    pub arguments: Vec<String>,
    pub silent: bool,
    pub workers: WorkerCount,
    pub max_workers: u32,
    pub balance: Balance,
    pub listen: Vec<Address>,
    pub max_message_size: u64,
    pub drain_timeout: Duration,
}

/// Changes to the settings; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Name of a plugin the operator gave: the file name of `--plugin` without its ending, or a name of
    /// `--setup-plugin`. The file is read again, so the same name may mean a newer version.
    pub plugin: Option<String>,
    /// The worker's arguments.
    pub arguments: Option<Vec<String>>,
    /// Do not pass the workers' output on.
    pub silent: Option<bool>,
}

/// All workers that have not ended.
pub fn workers() -> Vec<Worker> {
    raw::workers().into_iter().map(Worker::from).collect()
}

/// One of them.
pub fn worker(id: u32) -> Result<Worker, ClusterError> {
    raw::worker(id).map(Worker::from)
}

/// Starts a worker with these additions to its environment, and tells its number at once.
pub fn fork(environment: &[(&str, &str)]) -> Result<u32, ClusterError> {
    let pairs: Vec<_> =
        environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    raw::fork(&pairs)
}

/// Sends a value to a worker as JSON, waiting while its queue is full.
pub fn send<T: Serialize + ?Sized>(to: u32, value: &T) -> Result<(), MessageError> {
    send_bytes(to, &serde_json::to_vec(value)?)
}

/// Sends bytes to a worker, waiting while its queue is full.
pub fn send_bytes(to: u32, body: &[u8]) -> Result<(), MessageError> {
    ipc::block(|| raw::send(to, body), || raw::subscribe_send(to))
}

/// Sends bytes to a worker, or says `WouldBlock`.
pub fn try_send_bytes(to: u32, body: &[u8]) -> Result<(), MessageError> {
    Ok(raw::send(to, body)?)
}

/// Sends a value to all workers as JSON, and tells which did not get it and why.
pub fn broadcast<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Vec<(u32, MessageError)>, MessageError> {
    broadcast_bytes(&serde_json::to_vec(value)?)
}

/// Sends bytes to all workers, and tells which did not get them and why.
pub fn broadcast_bytes(body: &[u8]) -> Result<Vec<(u32, MessageError)>, MessageError> {
    let skipped = raw::broadcast(body)?;
    Ok(skipped.into_iter().map(|skipped| (skipped.worker, skipped.reason.into())).collect())
}

/// Sends a value to a worker and waits for the reply; events wait meanwhile.
pub fn request<T, R>(to: u32, value: &T, timeout: Option<Duration>) -> Result<R, MessageError>
where
    T: Serialize + ?Sized,
    R: DeserializeOwned,
{
    let body = serde_json::to_vec(value)?;
    let timeout = timeout.map(ipc::nanos);
    let pending = ipc::block(|| raw::request(to, &body, timeout), || raw::subscribe_send(to))?;
    let reply = ipc::block(|| pending.take(), || pending.subscribe())?;
    Ok(serde_json::from_slice(&reply)?)
}

/// Sends a signal to a worker; SIGTERM and SIGINT let it finish what it does.
pub fn kill(worker: u32, signal: Signal) -> Result<(), ClusterError> {
    raw::kill(worker, signal)
}

/// Lets one worker finish and end, or all of them and the host.
pub fn disconnect(worker: Option<u32>) -> Result<(), ClusterError> {
    raw::disconnect(worker)
}

/// What the cluster runs with.
pub fn settings() -> Settings {
    raw::settings().into()
}

/// Changes what the next generation and the next fork run with. With a plugin it answers when that is
/// compiled, or with `Invalid` that it cannot be, and then nothing has changed. Models
/// `cluster.setupPrimary()`.
///
/// ```no_run
/// use host::cluster::{self, ClusterError, Happening, Setup};
///
/// /// Replaces `old` by a worker of another plugin; nobody who is connected notices.
/// fn swap(old: u32, plugin: &str) -> Result<(), ClusterError> {
///     cluster::setup(&Setup { plugin: Some(plugin.to_owned()), ..Setup::default() })?;
///     let new = cluster::fork(&[])?;
///     while let Some(happening) = cluster::next() {
///         match happening {
///             Happening::Listening(event) if event.worker == new => break,
///             _ => {}
///         }
///     }
///     cluster::disconnect(Some(old))
/// }
/// ```
pub fn setup(changes: &Setup) -> Result<(), ClusterError> {
    raw::setup(&raw::SetupChanges {
        plugin: changes.plugin.clone(),
        arguments: changes.arguments.clone(),
        silent: changes.silent,
    })
}

/// Starts the next generation.
pub fn reload() -> Result<(), ClusterError> {
    raw::reload()
}

/// Takes a connection to give it to a worker, with `--balance program`; none if none waits.
pub fn try_accept() -> Result<Option<Connection>, ConnectionError> {
    match raw::accept() {
        Ok(connection) => Ok(Some(Connection::new(connection))),
        Err(ConnectionError::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives a connection to a worker, with up to 64 KiB of state. If the worker is gone it comes back.
pub fn hand_over(worker: u32, connection: Connection, state: &[u8]) -> Result<(), Box<Refused>> {
    raw::hand_over(worker, connection.into_raw(), state).map_err(refused)
}

impl From<raw::WorkerInfo> for Worker {
    fn from(worker: raw::WorkerInfo) -> Self {
        Self {
            id: worker.id,
            pid: worker.pid,
            generation: worker.generation,
            state: worker.state,
            connected: worker.connected,
            exited_after_disconnect: worker.exited_after_disconnect,
            connections: worker.connections,
        }
    }
}

impl From<raw::ClusterSettings> for Settings {
    fn from(settings: raw::ClusterSettings) -> Self {
        Self {
            plugin: settings.plugin,
            plugins: settings.plugins,
            arguments: settings.arguments,
            silent: settings.silent,
            workers: settings.workers,
            max_workers: settings.max_workers,
            balance: settings.balance,
            listen: settings.listen.into_iter().map(Address::from).collect(),
            max_message_size: settings.max_message_size,
            drain_timeout: Duration::from_nanos(settings.drain_timeout),
        }
    }
}
