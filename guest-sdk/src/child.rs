//! Programs that the operator granted (`--program NAME=PATH`); Node's `child_process` in the shape of
//! [`std::process`].
//!
//! ```no_run
//! use host::child::Command;
//!
//! # fn main() -> host::Result<()> {
//! let output = Command::new("date").arg("-u").output()?;
//! println!("{}{}", output.exit, String::from_utf8_lossy(&output.stdout));
//! # Ok(())
//! # }
//! ```
//!
//! The plain functions hold the whole instance up while they wait; the `…_async` ones let its other tasks run.
//! Unlike with the standard library, and as in Node, standard streams are pipes unless told otherwise.

mod command;
mod streams;

use std::{rc::Rc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    bindings::imports::host::cluster::{
        child_process::{self as raw, ChildEventError, SignalError},
        messages, types,
    },
    cluster::Status,
    ipc::{self, Error, Message},
    process::Signal,
    task,
};

pub use self::command::{Command, SpawnError};
pub use self::streams::{ChildOutput, ChildStdin};
pub use raw::{Limit, Stdio};

/// Names of the programs this plugin may start.
pub fn programs() -> Vec<String> {
    raw::programs()
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its code, or the signal that ended it.
    pub status: Status,
    /// The limit that was the reason, if one was.
    pub limit: Option<Limit>,
}

impl Exit {
    /// True if it ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.status == Status::Code(0) && self.limit.is_none()
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limit = match self.limit {
            None => return write!(f, "{}", self.status),
            Some(Limit::Timeout) => "timeout",
            Some(Limit::MaxBuffer) => "max-buffer",
            Some(Limit::CpuTime) => "cpu-time",
            Some(Limit::Memory) => "memory",
        };
        write!(f, "{} (limit: {limit})", self.status)
    }
}

impl From<raw::ChildExit> for Exit {
    fn from(exit: raw::ChildExit) -> Self {
        let status = match exit.status {
            types::ExitStatus::Code(code) => Status::Code(code),
            types::ExitStatus::Signal(signal) => Status::Signal(signal),
            types::ExitStatus::RealtimeSignal(number) => Status::RealtimeSignal(number),
        };
        Self { status, limit: exit.limit }
    }
}

/// What a program has printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// At most `max_buffer` bytes.
    pub stdout: Vec<u8>,
    /// At most `max_buffer` bytes.
    pub stderr: Vec<u8>,
}

/// What happens to a child, in this order.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message of the child.
    Message(Message),
    /// No message will follow.
    Disconnect,
    /// It has ended; its streams may still hold what it wrote.
    Exit(Exit),
    /// And they are at their ends, dropped, or were never used. Nothing follows.
    Close,
}

/// The child has ended, so it got no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the child has ended")
    }
}

impl std::error::Error for Ended {}

/// A program that was started. Dropping it closes its pipes and leaves it running.
pub struct Child {
    /// What it reads, if that is a pipe. Dropping it is the end of its input.
    pub stdin: Option<ChildStdin>,
    /// What it writes, if that is a pipe.
    pub stdout: Option<ChildOutput>,
    /// What else it writes, if that is a pipe.
    pub stderr: Option<ChildOutput>,
    raw: Rc<raw::Child>,
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Child({})", self.id())
    }
}

impl Child {
    /// Its process id, as `ps` shows it.
    pub fn id(&self) -> u32 {
        self.raw.pid()
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> Result<(), Ended> {
        self.signal(Signal::Sigkill)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Ended> {
        self.raw.kill(signal).map_err(|SignalError::Ended| Ended)
    }

    /// How it ended, if it has.
    pub fn try_wait(&self) -> Option<Exit> {
        self.raw.exit_status().map(Exit::from)
    }

    /// Closes its stdin and waits for its end.
    pub fn wait(&mut self) -> Exit {
        self.stdin = None;
        loop {
            match self.try_wait() {
                Some(exit) => return exit,
                None => self.raw.subscribe_exit().block(),
            }
        }
    }

    /// Closes its stdin and waits for its end while other tasks run.
    pub async fn wait_async(&mut self) -> Exit {
        self.stdin = None;
        loop {
            match self.try_wait() {
                Some(exit) => return exit,
                None => task::wait(&Rc::new(self.raw.subscribe_exit())).await,
            }
        }
    }

    /// True while messages can be sent to it.
    pub fn connected(&self) -> bool {
        self.raw.connected()
    }

    /// Sends it a value as JSON, waiting while its queue is full.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        self.send_bytes(&serde_json::to_vec(value)?)
    }

    /// Sends it bytes.
    pub fn send_bytes(&self, body: &[u8]) -> Result<(), Error> {
        ipc::block(|| self.raw.send(body), || self.raw.subscribe_send())
    }

    /// Waits for a message of it.
    pub fn receive(&self) -> Result<Message, Error> {
        ipc::block(|| self.raw.receive(), || self.raw.subscribe_receive()).map(Message::from)
    }

    /// Waits for a message of it while other tasks run.
    pub async fn receive_async(&self) -> Result<Message, Error> {
        let received = ipc::wait(|| self.raw.receive(), || self.raw.subscribe_receive());
        received.await.map(Message::from)
    }

    /// Sends it a value and waits for the reply.
    pub fn request<T, R>(&self, value: &T, timeout: Option<Duration>) -> Result<R, Error>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let (body, timeout) = (serde_json::to_vec(value)?, timeout.map(ipc::nanos));
        let pending =
            ipc::block(|| self.raw.request(&body, timeout), || self.raw.subscribe_send())?;
        let reply = ipc::block(|| pending.take(), || pending.subscribe())?;
        Ok(serde_json::from_slice(&reply)?)
    }

    /// Sends it a value and waits for the reply while other tasks run.
    pub async fn request_async<T, R>(
        &self,
        value: &T,
        timeout: Option<Duration>,
    ) -> Result<R, Error>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let (body, timeout) = (serde_json::to_vec(value)?, timeout.map(ipc::nanos));
        let pending =
            ipc::wait(|| self.raw.request(&body, timeout), || self.raw.subscribe_send()).await?;
        let reply = ipc::wait(|| pending.take(), || pending.subscribe()).await?;
        Ok(serde_json::from_slice(&reply)?)
    }

    /// Answers a message of it with a value.
    pub fn reply<T: Serialize + ?Sized>(&self, to: &Message, value: &T) -> Result<(), Error> {
        let request = to.request_id().ok_or(Error::NoSuchRequest)?;
        let body = serde_json::to_vec(value)?;
        ipc::block(|| self.raw.reply(request, &body), || self.raw.subscribe_send())
    }

    /// Closes the message channel.
    pub fn disconnect(&self) {
        self.raw.disconnect();
    }

    /// Waits for the next event; none after [`Event::Close`].
    pub fn next_event(&self) -> Option<Event> {
        loop {
            match self.try_next_event() {
                Ok(event) => return event,
                Err(()) => self.raw.subscribe().block(),
            }
        }
    }

    /// Waits for the next event while other tasks run; none after [`Event::Close`].
    pub async fn next_event_async(&self) -> Option<Event> {
        loop {
            match self.try_next_event() {
                Ok(event) => return event,
                Err(()) => task::wait(&Rc::new(self.raw.subscribe())).await,
            }
        }
    }

    /// The next event, or none after the last; an error if nothing has happened yet.
    fn try_next_event(&self) -> Result<Option<Event>, ()> {
        use raw::ChildEvent as E;
        match self.raw.next_event() {
            Ok(E::Message(message)) => Ok(Some(Event::Message(messages::Message::into(message)))),
            Ok(E::Disconnect) => Ok(Some(Event::Disconnect)),
            Ok(E::Exit(exit)) => Ok(Some(Event::Exit(exit.into()))),
            Ok(E::Close) => Ok(Some(Event::Close)),
            Err(ChildEventError::Closed) => Ok(None),
            Err(ChildEventError::WouldBlock) => Err(()),
        }
    }
}
