//! A descriptor that is watched for what arrives only: of a local socket, the kernel tells whoever watches
//! for room each time the peer has read something, which for a process that waits means to be woken twice
//! for each answer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::sys;

pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Must be non-blocking, or used with calls that do not block.
    pub fn new(fd: OwnedFd) -> Result<Watched> {
        sys::watch(fd, Interest::READABLE).map(Watched).context("watch descriptor")
    }

    pub async fn readable(&self) -> Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.0.readable().await.context("wait for what arrives")
    }

    /// Of a stream that does not block: what is there, if anything, without asking the event loop. Zero bytes
    /// are its end.
    pub fn read_now(&self, buffer: &mut [u8]) -> Option<Result<usize>> {
        match nix::unistd::read(self, buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            read => Some(read.context("read what arrived")),
        }
    }

    /// The same, once there is something.
    pub async fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let mut ready = self.readable().await?;
            match nix::unistd::read(self, buffer) {
                Ok(count) => {
                    // A buffer that was not filled has emptied it.
                    if count < buffer.len() {
                        ready.clear_ready();
                    }
                    return Ok(count);
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("read what arrived"),
            }
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// Waits until what was full has room again; watches for it only that long.
pub async fn room(full: OwnedFd) -> Result<()> {
    let watched = sys::watch(full, Interest::WRITABLE).context("watch descriptor")?;
    watched.writable().await.map(drop).context("wait for room")
}
