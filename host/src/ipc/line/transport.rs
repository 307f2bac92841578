//! Moves a line's bytes: one task that writes what is queued, one that reads frames into the inbox.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::Poll;

use anyhow::{Context, Result};
use bytes::Buf;
use nix::errno::Errno;

use super::{
    GIVE_UP, HEAD, INBOX_BYTES, INBOX_MESSAGES, Line, MESSAGE, REPLY, REQUEST, State, until,
};
use crate::ipc::watched::room;

/// Room for one read.
const READ: usize = 64 << 10;

impl Line {
    /// Takes its turn after the tasks that are ready now, so that what all of them send goes out in one
    /// piece, and wakes the other side up once.
    pub(super) async fn write_to_end(self) {
        loop {
            self.0.work.notified().await;
            while let Some(all) = self.write_waiting() {
                self.0.room.notify_waiters();
                if all {
                    break;
                }
                if self.wait_writable().await.is_err() {
                    break;
                }
            }
            if self.close_if_ended() {
                return self.0.room.notify_waiters();
            }
        }
    }

    async fn wait_writable(&self) -> Result<()> {
        let copy = self.lock().writer.as_ref().map(OwnedFd::try_clone);
        match copy {
            Some(writer) => room(writer.context("duplicate message line")?).await,
            None => Ok(()),
        }
    }

    fn write_waiting(&self) -> Option<bool> {
        self.write_some(&mut self.lock())
    }

    /// Whether all is written; `None` if nobody reads any more.
    pub(super) fn write_some(&self, state: &mut State) -> Option<bool> {
        while !state.out.is_empty() {
            let Some(writer) = &state.writer else { return None };
            match nix::unistd::write(writer, &state.out) {
                Ok(written) => state.out.advance(written),
                Err(Errno::EAGAIN | Errno::EINTR) => return Some(false),
                Err(_) => {
                    state.out.clear();
                    state.out_ended = true;
                    return None;
                }
            }
        }
        Some(true)
    }

    fn close_if_ended(&self) -> bool {
        let mut state = self.lock();
        if state.out_ended && state.out.is_empty() {
            state.writer = None;
        }
        state.writer.is_none()
    }

    pub(super) async fn read_to_end(self) {
        let (mut arrived, mut hope) = (Arrived::default(), Hope::default());
        loop {
            if !self.inbox_has_room() {
                until(&self.0.taken, || self.inbox_has_room()).await;
            }
            match self.read(arrived.room(), &mut hope).await {
                Ok(count @ 1..) => arrived.to += count,
                Ok(0) | Err(_) => break,
            }
            if !self.deliver(&mut arrived) {
                break;
            }
            self.0.news.notify_waiters();
        }
        let mut state = self.lock();
        state.in_ended = true;
        state.out_ended = true;
        drop(state);
        self.0.news.notify_waiters();
        self.0.room.notify_waiters();
        self.0.work.notify_one();
    }

    async fn read(&self, room: &mut [u8], hope: &mut Hope) -> Result<usize> {
        if hope.is_worth_a_try() {
            after_others().await;
            let read = self.0.reader.read_now(room);
            hope.learn(read.is_some());
            if let Some(read) = read {
                return read;
            }
        }
        self.0.reader.read(room).await
    }

    fn inbox_has_room(&self) -> bool {
        let state = self.lock();
        state.inbox.len() < INBOX_MESSAGES && state.inbox_bytes < INBOX_BYTES
    }

    /// Takes every whole frame; false if the peer breaks the rules.
    fn deliver(&self, arrived: &mut Arrived) -> bool {
        let mut state = self.lock();
        while let Some((mut head, rest)) =
            arrived.bytes[arrived.from..arrived.to].split_at_checked(HEAD)
        {
            let (length, kind, id) = (head.get_u32_le() as usize, head.get_u8(), head.get_u64_le());
            if length > self.0.max {
                return false;
            }
            let Some(body) = rest.get(..length) else {
                arrived.awaited = HEAD + length;
                return true;
            };
            let body = body.to_vec();
            arrived.from += HEAD + length;
            match kind {
                MESSAGE => state.arrived(body, None),
                REQUEST => state.arrived(body, Some(id)),
                REPLY => {
                    if let Some(slot) = state.awaited.get_mut(&id) {
                        *slot = Some(body);
                    }
                }
                GIVE_UP => drop(state.owed.remove(&id)),
                _ => return false,
            }
        }
        arrived.awaited = 0;
        true
    }
}

/// Lets the tasks that are ready go first. Unlike tokio's own way, without a look at what is watched.
async fn after_others() {
    let mut asked = false;
    poll_fn(|cx| match std::mem::replace(&mut asked, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Whether the next message may be here already. Where two processes share a CPU, who is woken by an answer
/// has often sent the next question before the one who answered goes on: nobody needs to wait for it then.
#[derive(Default)]
pub(super) struct Hope {
    /// So many times it is not worth a try: twice as many after each try in vain.
    pause: u8,
    tried_in_vain: u8,
}

impl Hope {
    pub(super) fn is_worth_a_try(&mut self) -> bool {
        let now = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        now
    }

    pub(super) fn learn(&mut self, came: bool) {
        self.tried_in_vain = if came { 0 } else { (self.tried_in_vain + 1).min(6) };
        self.pause = (1 << self.tried_in_vain) - 1;
    }
}

/// What has arrived and is not delivered yet: part of a frame at most, between two reads.
#[derive(Default)]
struct Arrived {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    /// How long the first frame will be, once its head is there.
    awaited: usize,
}

impl Arrived {
    /// For the next read: never little, and all of a frame that has begun.
    fn room(&mut self) -> &mut [u8] {
        let wanted = self.awaited.max(self.to - self.from + READ / 4);
        if self.bytes.len() - self.from < wanted {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted.max(READ), 0);
        }
        &mut self.bytes[self.to..]
    }
}
