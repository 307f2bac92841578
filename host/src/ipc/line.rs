//! The plugin's own messages: a line from a worker straight to the primary program, apart
//! from the control channel, so that no flood of messages delays a drain. Either end may be hostile:
//! a stated length over the limit breaks the line, and both queues are bounded.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod pipes;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result};
use bytes::BytesMut;
use tokio::sync::Notify;

pub use pipes::Pipes;

use super::watched::Watched;

/// Length of the body, kind, request id.
const HEAD: usize = 4 + 1 + 8;
/// Bytes that may wait for a receiver who does not read, besides what the kernel holds.
const SEND_ROOM: usize = 256 << 10;
const INBOX_MESSAGES: usize = 1024;
const INBOX_BYTES: usize = 1 << 20;
/// Requests nobody has answered; beyond, the oldest cannot be answered any more.
const MAX_OWED: usize = 1 << 16;

const MESSAGE: u8 = 0;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// The sender of a request waits no longer.
const GIVE_UP: u8 = 3;

pub struct Received {
    pub body: Vec<u8>,
    /// The sender waits for a reply under this number.
    pub request: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    Closed,
    Full,
    TooLarge,
    NoSuchRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Not yet.
    Yet,
    /// Never more.
    Ever,
}

/// One end; clones share it.
#[derive(Clone)]
pub struct Line(Arc<Shared>);

struct Shared {
    reader: Watched,
    max: usize,
    state: Mutex<State>,
    /// There is something for the writing task.
    work: Notify,
    /// There is room for one more message, or never will be.
    room: Notify,
    /// Something has arrived, or nothing more will; several lines may share it.
    news: Arc<Notify>,
    /// A message was taken from the inbox.
    taken: Notify,
}

#[derive(Default)]
struct State {
    out: BytesMut,
    /// None once everything queued has gone out, and the other side knows that it is the end.
    writer: Option<OwnedFd>,
    /// The last of what had arrived was taken since something was sent: the other side has nothing more to
    /// do, and waits for what is sent now.
    answers: bool,
    /// Nothing more is queued; what is there still goes out.
    out_ended: bool,
    in_ended: bool,
    inbox: VecDeque<Received>,
    inbox_bytes: usize,
    owed: BTreeSet<u64>,
    awaited: HashMap<u64, Option<Vec<u8>>>,
    next_request: u64,
}

/// Waits until `done` is true; whoever changes what it looks at notifies.
pub async fn until(notify: &Notify, mut done: impl FnMut() -> bool) {
    loop {
        let mut notified = pin!(notify.notified());
        notified.as_mut().enable();
        if done() {
            return;
        }
        notified.await;
        if done() {
            return;
        }
    }
}

impl Line {
    /// Must be called inside the runtime, whose tasks do the moving.
    pub fn start(pipes: Pipes, max: usize, news: Arc<Notify>) -> Result<Line> {
        let line = Line(Arc::new(Shared {
            reader: Watched::new(pipes.reader).context("open message line")?,
            max,
            state: Mutex::new(State { writer: Some(pipes.writer), ..State::default() }),
            work: Notify::new(),
            room: Notify::new(),
            news,
            taken: Notify::new(),
        }));
        tokio::spawn(line.clone().read_to_end());
        tokio::spawn(line.clone().write_to_end());
        Ok(line)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn max(&self) -> usize {
        self.0.max
    }

    pub fn connected(&self) -> bool {
        !self.lock().out_ended
    }

    pub fn send(&self, body: &[u8]) -> Result<(), SendError> {
        self.put(&mut self.lock(), MESSAGE, 0, body)
    }

    /// The number under which `take_reply` finds the reply.
    pub fn request(&self, body: &[u8]) -> Result<u64, SendError> {
        let mut state = self.lock();
        let id = state.next_request + 1;
        self.put(&mut state, REQUEST, id, body)?;
        state.next_request = id;
        state.awaited.insert(id, None);
        Ok(id)
    }

    pub fn reply(&self, id: u64, body: &[u8]) -> Result<(), SendError> {
        let mut state = self.lock();
        if !state.owed.contains(&id) {
            return Err(if state.out_ended { SendError::Closed } else { SendError::NoSuchRequest });
        }
        self.put(&mut state, REPLY, id, body)?;
        state.owed.remove(&id);
        Ok(())
    }

    fn put(&self, state: &mut State, kind: u8, id: u64, body: &[u8]) -> Result<(), SendError> {
        if body.len() > self.0.max {
            return Err(SendError::TooLarge);
        }
        if state.out_ended {
            return Err(SendError::Closed);
        }
        if state.out.len() >= SEND_ROOM {
            return Err(SendError::Full);
        }
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        head[4] = kind;
        head[5..].copy_from_slice(&id.to_le_bytes());
        let idle = state.out.is_empty();
        state.out.extend_from_slice(&head);
        state.out.extend_from_slice(body);
        // Otherwise more may follow, to go out with it.
        let at_once = std::mem::take(&mut state.answers);
        if idle && !(at_once && self.write_some(state) == Some(true)) {
            self.0.work.notify_one();
        }
        Ok(())
    }

    pub fn has_room(&self) -> bool {
        let state = self.lock();
        state.out_ended || state.out.len() < SEND_ROOM
    }

    pub async fn wait_room(&self) {
        until(&self.0.room, || self.has_room()).await
    }

    pub fn receive(&self) -> Result<Received, Nothing> {
        let mut state = self.lock();
        match state.inbox.pop_front() {
            Some(message) => {
                state.inbox_bytes -= message.body.len();
                state.answers = state.inbox.is_empty();
                self.0.taken.notify_one();
                Ok(message)
            }
            None if state.in_ended => Err(Nothing::Ever),
            None => Err(Nothing::Yet),
        }
    }

    pub fn has_news(&self) -> bool {
        let state = self.lock();
        state.in_ended || !state.inbox.is_empty()
    }

    pub fn has_message(&self) -> bool {
        !self.lock().inbox.is_empty()
    }

    pub async fn wait_news(&self) {
        until(&self.0.news, || self.has_news()).await
    }

    /// Everything that will ever come has been received.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.in_ended && state.inbox.is_empty()
    }

    pub fn take_reply(&self, id: u64) -> Result<Vec<u8>, Nothing> {
        let mut state = self.lock();
        let ended = state.in_ended;
        match state.awaited.get_mut(&id) {
            Some(Some(body)) => {
                let body = std::mem::take(body);
                state.awaited.remove(&id);
                state.answers = state.inbox.is_empty() && state.awaited.is_empty();
                Ok(body)
            }
            Some(None) if !ended => Err(Nothing::Yet),
            _ => Err(Nothing::Ever),
        }
    }

    fn is_settled(&self, id: u64) -> bool {
        let state = self.lock();
        state.in_ended || !matches!(state.awaited.get(&id), Some(None))
    }

    pub async fn wait_reply(&self, id: u64) {
        until(&self.0.news, || self.is_settled(id)).await
    }

    pub fn give_up(&self, id: u64) {
        let mut state = self.lock();
        if matches!(state.awaited.remove(&id), Some(None)) {
            // Only spares the other side a useless reply: no harm if it does not fit.
            let _ = self.put(&mut state, GIVE_UP, id, &[]);
        }
    }

    /// Sends nothing more; what is queued still goes out.
    pub fn end(&self) {
        self.lock().out_ended = true;
        self.0.work.notify_one();
        self.0.room.notify_waiters();
    }

    /// Waits until all that was sent is the kernel's, or cannot be delivered any more.
    pub async fn wait_sent(&self) {
        until(&self.0.room, || self.lock().out.is_empty()).await
    }
}

impl State {
    fn arrived(&mut self, body: Vec<u8>, request: Option<u64>) {
        if let Some(id) = request {
            self.owed.insert(id);
            if self.owed.len() > MAX_OWED {
                self.owed.pop_first();
            }
        }
        self.inbox_bytes += body.len();
        self.inbox.push_back(Received { body, request });
    }
}
