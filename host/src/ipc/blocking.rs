//! A channel's end in a process that has no event loop because it forks.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::channel::MAX_FRAME;
use crate::sys;

pub struct Blocking<Out, In> {
    socket: OwnedFd,
    buffer: Vec<u8>,
    types: PhantomData<fn(Out) -> In>,
}

impl<Out: Serialize, In: DeserializeOwned> Blocking<Out, In> {
    pub fn new(socket: OwnedFd) -> Blocking<Out, In> {
        Blocking { socket, buffer: vec![0; MAX_FRAME], types: PhantomData }
    }

    /// The next message; `None` when the peer has closed.
    pub fn recv(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>> {
        loop {
            match sys::recv_with_fds(self.socket.as_fd(), &mut self.buffer) {
                Ok(None) | Err(Errno::ECONNRESET) => return Ok(None),
                Ok(Some((length, fds))) => {
                    let message = postcard::from_bytes(&self.buffer[..length]);
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
