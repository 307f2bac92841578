//! A client's connection in plugin code's hands. It is closed when the connection and both its
//! streams are gone.

mod streams;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use nix::sys::socket::Shutdown;
use tokio::io::Interest;

use crate::worker::conn::Stream;
use crate::worker::tcp::Open;

pub use streams::{Input, Output};

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
    _open: Option<Open>,
}

impl Socket {
    pub fn new(stream: Stream, prefix: Bytes, open: Option<Open>) -> Socket {
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
