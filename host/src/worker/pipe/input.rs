//! The reading end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError};

use super::{CHUNK, stream_error};
use crate::sys;

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
