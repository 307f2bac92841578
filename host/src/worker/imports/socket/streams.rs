//! The two streams of a connection.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf, Bytes, BytesMut};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError};

use super::Socket;

/// What one call reads at most.
const READ: usize = 64 << 10;
/// What may wait here for a client that does not read.
const WRITE_ROOM: usize = 64 << 10;

pub struct Input(Arc<Socket>);

impl Input {
    pub fn new(socket: Arc<Socket>) -> Input {
        socket.reader_left.store(true, Relaxed);
        Input(socket)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.reader_left.store(false, Relaxed);
    }
}

thread_local! {
    /// Every read goes through it, so that an allocation has the size of what came.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        if self.0.prefix().is_empty() {
            let _ = self.0.readable().await;
        }
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        if self.0.read_shut.load(Relaxed) {
            return Err(StreamError::Closed);
        }
        let mut prefix = self.0.prefix();
        if !prefix.is_empty() {
            let length = size.min(prefix.len());
            return Ok(prefix.split_to(length));
        }
        drop(prefix);
        if size == 0 {
            return Ok(Bytes::new());
        }
        BUFFER.with_borrow_mut(|buffer| match self.0.try_read(&mut buffer[..size.min(READ)]) {
            Ok(0) => Err(StreamError::Closed),
            Ok(length) => {
                if length < size.min(READ) {
                    self.0.note_drained();
                }
                Ok(Bytes::copy_from_slice(&buffer[..length]))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => Err(failed(error)),
        })
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

pub struct Output {
    socket: Arc<Socket>,
    waiting: BytesMut,
    flushing: bool,
    failure: Option<io::Error>,
}

impl Output {
    pub fn new(socket: Arc<Socket>) -> Output {
        Output { socket, waiting: BytesMut::new(), flushing: false, failure: None }
    }

    fn write_waiting(&mut self) {
        while !self.waiting.is_empty() {
            match self.socket.try_write(&self.waiting) {
                Ok(written) => self.waiting.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.fail(error),
            }
        }
        if std::mem::take(&mut self.flushing) {
            self.socket.sent(true);
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.waiting.clear();
        self.flushing = false;
        self.failure = Some(error);
    }

    fn failure(&mut self) -> Result<(), StreamError> {
        match self.failure.take() {
            None => Ok(()),
            Some(error) => {
                // Told once as what it was, from then on as the end of the stream.
                let gone = error.kind() == io::ErrorKind::BrokenPipe;
                self.failure = Some(io::ErrorKind::BrokenPipe.into());
                Err(if gone { StreamError::Closed } else { failed(error) })
            }
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        while self.failure.is_none() && self.flushing {
            if let Err(error) = self.socket.writable().await {
                return self.fail(error);
            }
            self.write_waiting();
        }
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.failure()?;
        let mut rest = &bytes[..];
        if self.waiting.is_empty() {
            match self.socket.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.fail(error);
                    return self.failure();
                }
            }
        }
        if !rest.is_empty() {
            self.waiting.extend_from_slice(rest);
            self.flushing = true;
            self.socket.sent(false);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        self.failure()?;
        self.write_waiting();
        self.failure()
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        self.failure()?;
        self.write_waiting();
        self.failure()?;
        Ok(if self.flushing { 0 } else { WRITE_ROOM })
    }
}

impl Drop for Output {
    /// What was written is still sent, however long the client takes.
    fn drop(&mut self) {
        if self.waiting.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return self.socket.writer_dropped();
        }
        let mut rest = Output::new(self.socket.clone());
        std::mem::swap(&mut rest.waiting, &mut self.waiting);
        tokio::spawn(async move {
            rest.flushing = true;
            rest.ready().await;
        });
    }
}
