//! Messages between a worker and the primary program; Node's `process.send` and `process.on('message')`.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Notify {
//!     cmd: String,
//! }
//!
//! #[host::http]
//! fn hello() -> host::Result<&'static str> {
//!     host::ipc::send(&Notify { cmd: "notifyRequest".into() })?;
//!     Ok("hello world\n")
//! }
//! ```
//!
//! Values travel as JSON, as with Node; the `…_bytes` functions send any bytes. The plain functions wait when a queue
//! is full or empty, and hold the whole instance up; the `…_async` ones let its other tasks run meanwhile.
//!
//! A plugin that rather wants to be called for every message exports a handler:
//!
//! ```no_run
//! #[host::message]
//! fn on_message(message: host::ipc::Message) -> host::Result<()> {
//!     let question: String = message.json()?;
//!     message.reply(&question.len())?;
//!     Ok(())
//! }
//! ```

use std::{rc::Rc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use wasip2::io::poll::Pollable;

use crate::{
    bindings::imports::host::cluster::{ipc as raw, messages},
    task,
};

/// Why a message was not sent, received or answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no primary program, or the channel was closed.
    NotConnected,
    /// The queue is full or empty; only the `try_…` functions say so.
    WouldBlock,
    /// The message exceeds this many bytes.
    TooLarge(u64),
    /// The request was answered before, or its sender has stopped waiting.
    NoSuchRequest,
    /// No reply came in time.
    TimedOut,
    /// The plugin exports a message handler, which gets every message.
    HandledElsewhere,
    /// No worker has this number.
    UnknownWorker,
    /// The worker has ended.
    WorkerGone,
    /// The reply was taken before.
    AlreadyTaken,
    /// The value does not go into JSON, or the message does not hold such a value.
    Json(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConnected => f.write_str("no channel to the other side"),
            Self::WouldBlock => f.write_str("nothing to do at the moment"),
            Self::TooLarge(limit) => write!(f, "message exceeds {limit} bytes"),
            Self::NoSuchRequest => f.write_str("nobody waits for this reply"),
            Self::TimedOut => f.write_str("no reply in time"),
            Self::HandledElsewhere => f.write_str("messages go to the message handler"),
            Self::UnknownWorker => f.write_str("no worker has this number"),
            Self::WorkerGone => f.write_str("the worker has ended"),
            Self::AlreadyTaken => f.write_str("the reply was taken before"),
            Self::Json(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

impl From<messages::MessageError> for Error {
    fn from(error: messages::MessageError) -> Self {
        use messages::MessageError as E;
        match error {
            E::NotConnected => Self::NotConnected,
            E::WouldBlock => Self::WouldBlock,
            E::TooLarge(limit) => Self::TooLarge(limit),
            E::NoSuchRequest => Self::NoSuchRequest,
            E::TimedOut => Self::TimedOut,
            E::HandledElsewhere => Self::HandledElsewhere,
            E::UnknownWorker => Self::UnknownWorker,
            E::WorkerGone => Self::WorkerGone,
            E::AlreadyTaken => Self::AlreadyTaken,
        }
    }
}

type Result<T> = std::result::Result<T, Error>;

/// A message that arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its bytes.
    pub body: Vec<u8>,
    request: Option<u64>,
}

impl Message {
    /// The value that was sent.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// True if the sender waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.request.is_some()
    }

    /// Answers with a value; `NoSuchRequest` if nobody waits for it.
    pub fn reply<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        self.reply_bytes(&serde_json::to_vec(value)?)
    }

    /// Answers with bytes.
    pub fn reply_bytes(&self, body: &[u8]) -> Result<()> {
        let request = self.request.ok_or(Error::NoSuchRequest)?;
        block(|| raw::reply(request, body), raw::subscribe_send)
    }

    pub(crate) fn request_id(&self) -> Option<u64> {
        self.request
    }
}

impl From<messages::Message> for Message {
    fn from(message: messages::Message) -> Self {
        Self { body: message.body, request: message.request }
    }
}

/// True while messages can be sent.
pub fn connected() -> bool {
    raw::connected()
}

/// The largest message, in bytes.
pub fn max_message_size() -> u64 {
    raw::max_message_size()
}

/// Closes the worker's channel; the worker then drains and ends.
pub fn disconnect() {
    raw::disconnect();
}

/// Sends a value to the primary program. Ok means that the host has it and will deliver it.
pub fn send<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    send_bytes(&serde_json::to_vec(value)?)
}

/// Sends bytes.
pub fn send_bytes(body: &[u8]) -> Result<()> {
    match raw::send(body) {
        // The call that can wait costs more, and seldom has to.
        Err(messages::MessageError::WouldBlock) => Ok(raw::blocking_send(body)?),
        sent => Ok(sent?),
    }
}

/// Sends bytes, or says `WouldBlock`.
pub fn try_send_bytes(body: &[u8]) -> Result<()> {
    Ok(raw::send(body)?)
}

/// Sends a value while other tasks run.
pub async fn send_async<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    let body = serde_json::to_vec(value)?;
    wait(|| raw::send(&body), raw::subscribe_send).await
}

/// Waits for a message and takes the value in it.
pub fn receive<T: DeserializeOwned>() -> Result<T> {
    receive_message()?.json()
}

/// Waits for a message.
pub fn receive_message() -> Result<Message> {
    Ok(raw::blocking_receive(None)?.into())
}

/// Takes a message, or says `WouldBlock`.
pub fn try_receive_message() -> Result<Message> {
    Ok(raw::receive()?.into())
}

/// Waits for a message while other tasks run, and takes the value in it.
pub async fn receive_async<T: DeserializeOwned>() -> Result<T> {
    receive_message_async().await?.json()
}

/// Waits for a message while other tasks run.
pub async fn receive_message_async() -> Result<Message> {
    wait(raw::receive, raw::subscribe).await.map(Message::from)
}

/// Sends a value and waits for the reply to it.
pub fn request<T: Serialize + ?Sized, R: DeserializeOwned>(
    value: &T,
    timeout: Option<Duration>,
) -> Result<R> {
    let body = serde_json::to_vec(value)?;
    let pending = block(|| raw::request(&body, timeout.map(nanos)), raw::subscribe_send)?;
    let reply = block(|| pending.take(), || pending.subscribe())?;
    Ok(serde_json::from_slice(&reply)?)
}

/// Sends a value and waits for the reply to it while other tasks run.
pub async fn request_async<T, R>(value: &T, timeout: Option<Duration>) -> Result<R>
where
    T: Serialize + ?Sized,
    R: DeserializeOwned,
{
    let body = serde_json::to_vec(value)?;
    let pending = wait(|| raw::request(&body, timeout.map(nanos)), raw::subscribe_send).await?;
    let reply = wait(|| pending.take(), || pending.subscribe()).await?;
    Ok(serde_json::from_slice(&reply)?)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Repeats an operation until it does not answer `would-block`, sleeping in between.
pub(crate) fn block<T>(
    mut act: impl FnMut() -> std::result::Result<T, messages::MessageError>,
    subscribe: impl Fn() -> Pollable,
) -> Result<T> {
    loop {
        match act() {
            Err(messages::MessageError::WouldBlock) => subscribe().block(),
            other => return Ok(other?),
        }
    }
}

/// As [`block`], letting other tasks run in between.
pub(crate) async fn wait<T>(
    mut act: impl FnMut() -> std::result::Result<T, messages::MessageError>,
    subscribe: impl Fn() -> Pollable,
) -> Result<T> {
    loop {
        match act() {
            Err(messages::MessageError::WouldBlock) => task::wait(&Rc::new(subscribe())).await,
            other => return Ok(other?),
        }
    }
}
