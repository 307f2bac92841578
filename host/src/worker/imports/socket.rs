//! A client's connection in plugin code's hands, and its two streams. The socket is closed when the
//! connection and both streams are gone.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, Bytes, BytesMut};
use nix::sys::socket::Shutdown;
use tokio::io::Interest;
use tokio::sync::oneshot;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError};

use crate::worker::conn::Stream;

/// What one call reads at most.
const READ: usize = 64 << 10;
/// What may wait here for a client that does not read.
const WRITE_ROOM: usize = 64 << 10;

pub struct Socket {
    stream: Stream,
    /// Read by a former owner; served before the socket.
    prefix: Mutex<Bytes>,
    owner_gone: AtomicBool,
    writer_gone: AtomicBool,
    /// A reading stream was made, and is still there.
    reader_left: AtomicBool,
    read_shut: AtomicBool,
    /// The writing stream holds bytes the kernel has not taken.
    unsent: AtomicBool,
    /// The sending direction is to be closed after them.
    shut_when_sent: AtomicBool,
    /// Its end tells the worker that the connection is over.
    _open: Option<oneshot::Sender<()>>,
}

impl Socket {
    pub fn new(stream: Stream, prefix: Bytes, open: Option<oneshot::Sender<()>>) -> Socket {
        Socket {
            stream,
            prefix: Mutex::new(prefix),
            owner_gone: AtomicBool::new(false),
            writer_gone: AtomicBool::new(false),
            reader_left: AtomicBool::new(false),
            read_shut: AtomicBool::new(false),
            unsent: AtomicBool::new(false),
            shut_when_sent: AtomicBool::new(false),
            _open: open,
        }
    }

    fn prefix(&self) -> MutexGuard<'_, Bytes> {
        self.prefix.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn raw(&self) -> RawFd {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// Closes a direction; what was written before is still sent.
    pub fn shut(&self, how: Shutdown) {
        if how != Shutdown::Write {
            // The walls let only the sending direction be shut.
            self.read_shut.store(true, Relaxed);
        }
        if how == Shutdown::Read {
            return;
        }
        if self.unsent.load(Relaxed) {
            return self.shut_when_sent.store(true, Relaxed);
        }
        // A second time, or after the client has gone, there is nothing left to do.
        let _ = nix::sys::socket::shutdown(self.raw(), Shutdown::Write);
    }

    fn sent(&self, all: bool) {
        self.unsent.store(!all, Relaxed);
        if all && self.shut_when_sent.load(Relaxed) {
            self.shut(Shutdown::Write);
        }
    }

    /// `None` for a Unix socket.
    pub fn set_nodelay(&self, enabled: bool) -> Option<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream.set_nodelay(enabled)),
            Stream::Unix(_) => None,
        }
    }

    /// The connection itself was dropped; streams of it may live on.
    pub fn owner_dropped(&self) {
        self.owner_gone.store(true, Relaxed);
        self.shut_if_only_read();
    }

    fn writer_dropped(&self) {
        self.writer_gone.store(true, Relaxed);
        self.shut_if_only_read();
    }

    /// Who still reads keeps the socket open, which would otherwise end it.
    fn shut_if_only_read(&self) {
        let gone = self.owner_gone.load(Relaxed) && self.writer_gone.load(Relaxed);
        if gone && self.reader_left.load(Relaxed) {
            self.shut(Shutdown::Write);
        }
    }

    /// The descriptor and what was read from it but not served.
    pub fn release(self) -> io::Result<(OwnedFd, Bytes)> {
        let fd = match self.stream {
            Stream::Tcp(stream) => OwnedFd::from(stream.into_std()?),
            Stream::Unix(stream) => OwnedFd::from(stream.into_std()?),
        };
        let prefix = self.prefix.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok((fd, prefix))
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_read(buffer),
            Stream::Unix(stream) => stream.try_read(buffer),
        }
    }

    /// A read that took less than it could has taken all: until the kernel tells of more, the next one
    /// needs no system call to find nothing.
    fn note_drained(&self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, nothing),
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, nothing),
        };
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.writable().await,
            Stream::Unix(stream) => stream.writable().await,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
        }
    }
}

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
