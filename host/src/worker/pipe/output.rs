//! The writing end.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, Interest};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use super::{CHUNK, stream_error};
use crate::sys;

/// The writing end; clones share it and what waits before it.
#[derive(Clone)]
pub struct Output(Arc<Writing>);

struct Writing {
    fd: AsyncFd<OwnedFd>,
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Taken from the guest and not by the kernel.
    bytes: BytesMut,
    /// A task sees to it that they are.
    in_hands: bool,
    failure: Option<Errno>,
}

impl Output {
    /// Takes a non-blocking descriptor. Must be called inside the runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Output> {
        let fd = sys::watch(fd, Interest::WRITABLE)?;
        Ok(Output(Arc::new(Writing { fd, state: Mutex::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until everything is the kernel's, or the reader is gone.
    pub async fn flush_all(&self) {
        while !self.0.push(&mut self.lock()) {
            if self.0.fd.writable().await.is_err() {
                return;
            }
        }
    }

    /// A guest that has written may go on to wait for the answer: what is left reaches the reader all the same.
    fn push_later(&self) {
        let mut state = self.lock();
        if state.bytes.is_empty() || std::mem::replace(&mut state.in_hands, true) {
            return;
        }
        let rest = self.clone();
        tokio::spawn(async move {
            while !rest.0.push_all(&mut rest.lock()) && rest.0.fd.writable().await.is_ok() {}
        });
    }

    pub async fn write_all(&self, bytes: &[u8]) {
        self.lock().bytes.extend_from_slice(bytes);
        self.flush_all().await
    }
}

impl Drop for Output {
    /// What was written still goes out, however long the reader takes.
    fn drop(&mut self) {
        let last = Arc::strong_count(&self.0) == 1;
        let waits = last && !self.lock().bytes.is_empty();
        if waits && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let rest = self.clone();
            runtime.spawn(async move { rest.flush_all().await });
        }
    }
}

impl Writing {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.fd.try_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?))
    }

    /// As `push`, by the task that has taken it in hand.
    fn push_all(&self, waiting: &mut Waiting) -> bool {
        let all = self.push(waiting);
        waiting.in_hands = !all;
        all
    }

    /// Whether nothing waits any more.
    fn push(&self, waiting: &mut Waiting) -> bool {
        while !waiting.bytes.is_empty() {
            match self.try_write(&waiting.bytes) {
                Ok(written) => waiting.bytes.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => waiting.fail(&error),
            }
        }
        true
    }
}

impl Waiting {
    fn fail(&mut self, error: &io::Error) {
        self.bytes.clear();
        self.failure = Some(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
    }

    fn failure(&self) -> Result<(), StreamError> {
        match self.failure {
            None => Ok(()),
            Some(errno) => Err(stream_error(errno.into())),
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.flush_all().await
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut state = self.lock();
        state.failure()?;
        let mut rest = &bytes[..];
        if state.bytes.is_empty() {
            match self.0.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => state.fail(&error),
            }
            state.failure()?;
        }
        state.bytes.extend_from_slice(rest);
        drop(state);
        self.push_later();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        let mut state = self.lock();
        self.0.push(&mut state);
        state.failure()
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        let mut state = self.lock();
        let all = self.0.push(&mut state);
        state.failure()?;
        Ok(if all { CHUNK } else { 0 })
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(ready!(self.0.fd.poll_write_ready(cx))?);
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_arrives_though_nobody_flushes() {
        let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC;
        let (reader, writer) = nix::unistd::pipe2(flags).expect("a pipe");
        let mut output = Output::new(writer).expect("an output");
        output.write(Bytes::from_static(b"hello")).expect("write");
        let reader = sys::watch(reader, Interest::READABLE).expect("watch the reader");
        let mut text = [0; 16];
        let read = reader.async_io(Interest::READABLE, |fd| Ok(nix::unistd::read(fd, &mut text)?));
        let limit = std::time::Duration::from_secs(10);
        let count = tokio::time::timeout(limit, read).await.expect("in time").expect("read");
        assert_eq!(&text[..count], b"hello");
    }
}
