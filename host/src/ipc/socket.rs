//! One end of a pair of local sockets. It is watched for what arrives only: the kernel tells whoever
//! watches for room each time the peer has read something, which for a process that waits means to be
//! woken twice for each answer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, Shutdown};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::sys;

pub struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    pub fn new(socket: OwnedFd) -> Result<Socket> {
        sys::watch(socket, Interest::READABLE).map(Socket).context("watch socket")
    }

    pub async fn readable(&self) -> Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.0.readable().await.context("wait for socket")
    }

    /// Waits until a full socket has room again; watches for it only that long.
    pub async fn room(&self) -> Result<()> {
        let copy = self.0.get_ref().try_clone().context("duplicate socket")?;
        let watched = sys::watch(copy, Interest::WRITABLE).context("watch socket")?;
        watched.writable().await.map(drop).context("wait for socket")
    }

    /// Of a stream. Zero bytes are its end.
    pub async fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let mut ready = self.readable().await?;
            let flags = MsgFlags::MSG_DONTWAIT;
            match socket::recv(self.as_fd().as_raw_fd(), buffer, flags) {
                Ok(count) => {
                    // A buffer that was not filled has emptied the socket.
                    if count < buffer.len() {
                        ready.clear_ready();
                    }
                    return Ok(count);
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("read socket"),
            }
        }
    }

    /// Of a stream: as much as there is room for now.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        socket::send(self.as_fd().as_raw_fd(), bytes, flags)
    }

    pub fn finish(&self) {
        let _ = socket::shutdown(self.as_fd().as_raw_fd(), Shutdown::Write);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
