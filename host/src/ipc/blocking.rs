//! A channel's end in a process that has no event loop because it forks.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::channel::MAX_FRAME;
use crate::sys;

/// Where a frame arrives before it is decoded: one for all channels of a process that has one thread,
/// and in no heap, because a fresh one would be cleared, and so copied, in every fork.
static ARRIVING: Mutex<[u8; MAX_FRAME]> = Mutex::new([0; MAX_FRAME]);

pub struct Blocking<Out, In> {
    socket: OwnedFd,
    types: PhantomData<fn(Out) -> In>,
}

impl<Out: Serialize, In: DeserializeOwned> Blocking<Out, In> {
    pub fn new(socket: OwnedFd) -> Blocking<Out, In> {
        Blocking { socket, types: PhantomData }
    }

    /// The next message; `None` when the peer has closed.
    pub fn recv(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>> {
        let mut buffer = ARRIVING.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match sys::recv_with_fds(self.socket.as_fd(), &mut *buffer) {
                Ok(None) | Err(Errno::ECONNRESET) => return Ok(None),
                Ok(Some((length, fds))) => {
                    let message = postcard::from_bytes(&buffer[..length]);
                    return Ok(Some((message.context("decode frame")?, fds)));
                }
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN)?,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("receive frame"),
            }
        }
    }

    pub fn send(&self, message: &Out, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let bytes = postcard::to_stdvec(message).context("encode frame")?;
        ensure!(bytes.len() <= MAX_FRAME, "frame of {} bytes", bytes.len());
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        loop {
            match sys::send_with_fds(self.socket.as_fd(), &bytes, &fds) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT)?,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("send frame"),
            }
        }
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        let mut polled = [PollFd::new(self.socket.as_fd(), events)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("wait for channel"),
        }
    }
}

impl<Out, In> AsFd for Blocking<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
