//! Typed frames over a socket that keeps message borders and carries descriptors. The kernel bounds
//! a frame, so a peer's length never sizes memory; a frame that does not decode is an error, never
//! a panic.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::watched::{Watched, room};
use crate::sys;

/// The largest frame either side sends or accepts.
pub const MAX_FRAME: usize = 192 * 1024;
/// Frames that may wait for a peer that does not read.
const MAX_WAITING: usize = 4096;

thread_local! {
    /// Where a frame arrives before it is decoded; one for all channels of the event loop, so that
    /// they cost no memory each.
    static ARRIVING: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_FRAME].into());
}

/// One end of a channel that sends `Out` and receives `In`; the peer holds the mirror.
pub struct Channel<Out, In> {
    socket: Watched,
    waiting: RefCell<VecDeque<(Vec<u8>, Vec<OwnedFd>)>>,
    more: Notify,
    types: PhantomData<fn(Out) -> In>,
}

/// A pair of sockets sized so that one full frame always fits.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = sys::channel_pair()?;
    for end in [&ours, &theirs] {
        nix::sys::socket::setsockopt(end, nix::sys::socket::sockopt::SndBuf, &(2 * MAX_FRAME))
            .context("size channel")?;
    }
    Ok((ours, theirs))
}

impl<Out: Serialize, In: DeserializeOwned> Channel<Out, In> {
    pub fn new(socket: OwnedFd) -> Result<Channel<Out, In>> {
        Ok(Channel {
            socket: Watched::new(socket)?,
            waiting: RefCell::default(),
            more: Notify::new(),
            types: PhantomData,
        })
    }

    /// The next message and the descriptors that came with it; `None` when the peer has closed.
    pub async fn recv(&self) -> Result<Option<(In, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match self.try_recv()? {
                Some(received) => return Ok(received),
                None => ready.clear_ready(),
            }
        }
    }

    /// `None` when nothing has arrived, `Some(None)` at the end of the stream.
    #[allow(clippy::type_complexity)]
    fn try_recv(&self) -> Result<Option<Option<(In, Vec<OwnedFd>)>>> {
        ARRIVING.with_borrow_mut(|buffer| match sys::recv_with_fds(self.socket.as_fd(), buffer) {
            Ok(None) | Err(Errno::ECONNRESET) => Ok(Some(None)),
            Ok(Some((length, fds))) => {
                let message = postcard::from_bytes(&buffer[..length]);
                Ok(Some(Some((message.context("decode frame")?, fds))))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(error).context("receive frame"),
        })
    }

    /// Sends now, or as soon as the peer reads, in order. Fails when the peer is gone or has let
    /// thousands of frames pile up.
    pub fn post(&self, message: &Out, fds: Vec<OwnedFd>) -> Result<()> {
        let bytes = postcard::to_stdvec(message).context("encode frame")?;
        ensure!(bytes.len() <= MAX_FRAME, "frame of {} bytes", bytes.len());
        if self.waiting.borrow().is_empty() && self.try_send(&bytes, &raw(&fds))? {
            return Ok(());
        }
        self.queue(bytes, fds)
    }

    /// Like `post` for one descriptor that stays ours; it is duplicated only if it has to wait.
    pub fn post_with(&self, message: &Out, fd: BorrowedFd<'_>) -> Result<()> {
        let bytes = postcard::to_stdvec(message).context("encode frame")?;
        ensure!(bytes.len() <= MAX_FRAME, "frame of {} bytes", bytes.len());
        if self.waiting.borrow().is_empty() && self.try_send(&bytes, &[fd.as_raw_fd()])? {
            return Ok(());
        }
        let copy = fd.try_clone_to_owned().context("duplicate descriptor")?;
        self.queue(bytes, vec![copy])
    }

    fn queue(&self, bytes: Vec<u8>, fds: Vec<OwnedFd>) -> Result<()> {
        let mut waiting = self.waiting.borrow_mut();
        ensure!(waiting.len() < MAX_WAITING, "peer does not read its channel");
        waiting.push_back((bytes, fds));
        self.more.notify_one();
        Ok(())
    }

    /// Frames posted but not yet taken by the kernel.
    pub fn backlog(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Delivers what `post` had to leave waiting; runs beside the user of the channel and ends with
    /// the first error. Calls `caught_up` whenever nothing waits any more.
    pub async fn pump(&self, caught_up: impl Fn()) -> Result<()> {
        loop {
            self.more.notified().await;
            self.flush().await?;
            caught_up();
        }
    }

    /// Waits until everything posted has left this process.
    pub async fn flush(&self) -> Result<()> {
        while !self.send_waiting()? {
            let copy = self.socket.as_fd().try_clone_to_owned().context("duplicate channel")?;
            room(copy).await?;
        }
        Ok(())
    }

    /// Whether none is left.
    fn send_waiting(&self) -> Result<bool> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some((bytes, fds)) = waiting.front() {
            if !self.try_send(bytes, &raw(fds))? {
                return Ok(false);
            }
            waiting.pop_front();
        }
        Ok(true)
    }

    fn try_send(&self, bytes: &[u8], fds: &[RawFd]) -> Result<bool> {
        match sys::send_with_fds(self.socket.as_fd(), bytes, fds) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(Errno::EPIPE | Errno::ECONNRESET) => bail!("send frame: peer is gone"),
            Err(error) => Err(error).context("send frame"),
        }
    }
}

fn raw(fds: &[OwnedFd]) -> Vec<RawFd> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn frames_and_descriptors_arrive_in_order_and_the_end_is_seen() {
        runtime().block_on(async {
            let (a, b) = pair().unwrap();
            let ours: Channel<u64, u64> = Channel::new(a).unwrap();
            let theirs: Channel<u64, u64> = Channel::new(b).unwrap();
            let carried = sys::sealed_memfd("test", b"carried").unwrap();
            ours.post(&1, vec![carried]).unwrap();
            for n in 2..2000 {
                ours.post(&n, vec![]).unwrap();
            }
            let reader = async {
                let (first, fds) = theirs.recv().await.unwrap().unwrap();
                assert_eq!((first, fds.len()), (1, 1));
                assert!(sys::is_sealed(&fds[0]));
                for n in 2..2000 {
                    assert_eq!(theirs.recv().await.unwrap().unwrap().0, n);
                }
            };
            let (flushed, ()) = tokio::join!(ours.flush(), reader);
            flushed.unwrap();
            drop(ours);
            assert!(theirs.recv().await.unwrap().is_none());
        });
    }

    proptest! {
        #[test]
        fn any_bytes_from_a_peer_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            runtime().block_on(async {
                let (a, b) = pair().unwrap();
                let channel: Channel<(), crate::ipc::message::FromWorker> = Channel::new(b).unwrap();
                sys::send_with_fds(a.as_fd(), &bytes, &[]).unwrap();
                let _ = channel.recv().await;
            });
        }
    }
}
