//! Moves a line's bytes: one task that writes what is queued, one that reads frames into the inbox.

use std::io;
use std::os::fd::AsRawFd;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;

use super::{GIVE_UP, HEAD, INBOX_BYTES, INBOX_MESSAGES, Line, MESSAGE, REPLY, REQUEST, until};

/// Room for one read.
const READ: usize = 64 << 10;

impl Line {
    /// Takes its turn after the tasks that are ready now, so that what all of them send goes out in one
    /// piece, and wakes the other side up once.
    pub(super) async fn write_to_end(self) {
        loop {
            self.0.work.notified().await;
            while let Some(all) = self.write_some() {
                self.0.room.notify_waiters();
                if all {
                    break;
                }
                if self.0.socket.writable().await.is_err() {
                    break;
                }
            }
            if self.close_if_ended() {
                return self.0.room.notify_waiters();
            }
        }
    }

    /// Whether all is written; `None` if nobody reads any more.
    fn write_some(&self) -> Option<bool> {
        let mut state = self.lock();
        while !state.out.is_empty() {
            match self.0.socket.try_write(&state.out) {
                Ok(written) => state.out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(false),
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
        if state.out_ended && state.out.is_empty() && !state.out_closed {
            state.out_closed = true;
            let fd = self.0.socket.as_ref().as_raw_fd();
            let _ = nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Write);
        }
        state.out_closed
    }

    pub(super) async fn read_to_end(self, mut socket: OwnedReadHalf) {
        let mut buffer = BytesMut::new();
        loop {
            until(&self.0.taken, || self.inbox_has_room()).await;
            if buffer.capacity() - buffer.len() < READ / 4 {
                buffer.reserve(READ);
            }
            match socket.read_buf(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
            if !self.deliver(&mut buffer) {
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

    fn inbox_has_room(&self) -> bool {
        let state = self.lock();
        state.inbox.len() < INBOX_MESSAGES && state.inbox_bytes < INBOX_BYTES
    }

    /// Takes every whole frame from the buffer; false if the peer breaks the rules.
    fn deliver(&self, buffer: &mut BytesMut) -> bool {
        let mut state = self.lock();
        while buffer.len() >= HEAD {
            let mut head = &buffer[..HEAD];
            let (length, kind, id) = (head.get_u32_le() as usize, head.get_u8(), head.get_u64_le());
            if length > self.0.max {
                return false;
            }
            if buffer.len() < HEAD + length {
                buffer.reserve(HEAD + length - buffer.len());
                break;
            }
            let body = buffer[HEAD..HEAD + length].to_vec();
            buffer.advance(HEAD + length);
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
        true
    }
}
