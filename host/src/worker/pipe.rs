//! The two ends of pipes as WASI streams: what a program reads and writes, and what its spawner
//! does at the other ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError};

use crate::sys;

/// What one call moves at most.
const CHUNK: usize = 64 << 10;

/// Told when a stream has ended or was dropped.
pub trait Ending: Send + Sync {
    fn ended(&self);
}

/// The reading end; clones share it.
#[derive(Clone)]
pub struct Input(Arc<Reading>);

struct Reading {
    fd: AsyncFd<OwnedFd>,
    /// Taken at the end.
    ending: Mutex<Option<Box<dyn Ending>>>,
}

impl Input {
    /// Takes a non-blocking descriptor. Must be called inside the runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Input> {
        let fd = sys::watch(fd, Interest::READABLE)?;
        Ok(Input(Arc::new(Reading { fd, ending: Mutex::default() })))
    }

    pub fn on_end(self, ending: Box<dyn Ending>) -> Input {
        *self.0.ending.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(ending);
        self
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read_with(|fd| Ok(nix::unistd::read(fd, buffer)?))
    }

    fn try_read_with(&self, read: impl FnOnce(&OwnedFd) -> io::Result<usize>) -> io::Result<usize> {
        let read = self.0.fd.try_io(Interest::READABLE, read);
        let more = matches!(&read, Ok(1..)) || would_block(&read);
        if !more {
            self.0.end();
        }
        read
    }

    /// Reads to the end, at most so many bytes; whether there was more.
    pub async fn read_to_end(&mut self, most: usize) -> (Vec<u8>, bool) {
        let (mut all, mut buffer) = (Vec::new(), vec![0; CHUNK]);
        loop {
            match self.try_read(&mut buffer) {
                Ok(0) => return (all, false),
                Ok(length) if all.len() + length > most => {
                    all.extend_from_slice(&buffer[..most - all.len()]);
                    return (all, true);
                }
                Ok(length) => all.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.0.fd.readable().await.is_err() {
                        return (all, false);
                    }
                }
                Err(_) => return (all, false),
            }
        }
    }
}

impl Reading {
    fn end(&self) {
        let ending = self.ending.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(ending) = ending {
            ending.ended();
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.end();
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn stream_error(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        // Ready stays set until a read finds nothing.
        let _ = self.0.fd.readable().await;
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = BytesMut::with_capacity(size.min(CHUNK));
        match self.try_read_with(|fd| Ok(sys::read_into(fd.as_fd(), &mut buffer)?)) {
            Ok(0) => Err(StreamError::Closed),
            Ok(_) => Ok(buffer.freeze()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => Err(stream_error(error)),
        }
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.try_read(buffer.initialize_unfilled()) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A clone may have read: look again once it is readable again.
                    drop(ready!(self.0.fd.poll_read_ready(cx))?);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

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
