//! One accepted connection: the socket, the bytes a former owner already read from it, and the
//! state that the connection's task, its request and the sweeper share. Client bytes only.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::ipc::message::Ends;

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Told that a connection is now this worker's alone.
pub type Taken = Box<dyn FnOnce() + Send>;

pub struct Conn {
    stream: Stream,
    /// Read by a former owner, or while the protocol was found out; served before the socket.
    prefix: Bytes,
    on_first_read: Option<Taken>,
    pub ends: Ends,
    pub state: Arc<ConnState>,
}

/// An idle connection given up by this worker, for the next owner to go on with.
pub struct Released {
    pub fd: OwnedFd,
    /// Already read from the socket: the beginning of the next request, usually empty.
    pub read: Bytes,
    pub ends: Ends,
}

impl Conn {
    /// Must be called inside the runtime. A connected stream socket, non-blocking already; what it
    /// connects comes along because the worker may not ask the kernel.
    pub fn new(fd: OwnedFd, ends: Ends) -> io::Result<Conn> {
        let stream = match ends.peer {
            Some(_) => Stream::Tcp(TcpStream::from_std(fd.into())?),
            None => Stream::Unix(UnixStream::from_std(fd.into())?),
        };
        Ok(Conn { stream, prefix: Bytes::new(), on_first_read: None, ends, state: Arc::default() })
    }

    /// Bytes that a former owner had read.
    pub fn with_prefix(mut self, prefix: Bytes) -> Conn {
        self.prefix = prefix;
        self
    }

    /// Called when the first byte is taken from the socket: from then on only this worker can serve it.
    pub fn on_first_read(mut self, callback: Taken) -> Conn {
        self.on_first_read = Some(callback);
        self
    }

    /// For plugins that speak their own protocol.
    pub fn into_parts(self) -> (Stream, Bytes, Ends, Option<Taken>) {
        (self.stream, self.prefix, self.ends, self.on_first_read)
    }

    pub fn release(self, read: Bytes) -> io::Result<Released> {
        let fd = match self.stream {
            Stream::Tcp(stream) => OwnedFd::from(stream.into_std()?),
            Stream::Unix(stream) => OwnedFd::from(stream.into_std()?),
        };
        let read = match (read.is_empty(), self.prefix.is_empty()) {
            (_, true) => read,
            (true, false) => self.prefix,
            (false, false) => Bytes::from([&read[..], &self.prefix[..]].concat()),
        };
        Ok(Released { fd, read, ends: self.ends })
    }

    /// Looks at the first bytes without consuming them, until `judge` comes to a result.
    pub async fn peek<T>(&mut self, judge: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
        let mut buf = [0; 1024];
        loop {
            if let Some(result) = judge(&self.prefix) {
                return Ok(result);
            }
            let n = self.read_some(&mut buf).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.taken();
            self.prefix = match self.prefix.is_empty() {
                true => Bytes::copy_from_slice(&buf[..n]),
                false => Bytes::from([&self.prefix[..], &buf[..n]].concat()),
            };
        }
    }

    async fn read_some(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = match &self.stream {
                Stream::Tcp(stream) => {
                    stream.ready(Interest::READABLE).await?;
                    stream.try_read(buf)
                }
                Stream::Unix(stream) => {
                    stream.ready(Interest::READABLE).await?;
                    stream.try_read(buf)
                }
            };
            match ready {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                done => return done,
            }
        }
    }

    fn taken(&mut self) {
        if let Some(callback) = self.on_first_read.take() {
            callback();
        }
        self.state.bytes_came();
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let n = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..n]);
            self.prefix.advance(n);
            self.state.bytes_came();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.taken();
        }
        result
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.state.wrote(result.is_ready());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.state.wrote(result.is_ready());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called with everything handed to the kernel, which makes an answered connection idle.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Where a connection stands. The order of the numbers is that of a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub enum Phase {
    /// Nothing read yet.
    Fresh = 0,
    /// Answered and flushed, waiting for the next request.
    Idle = 1,
    /// A request's head is coming in.
    Head = 2,
    /// A request is in the plugin's hands, or its answer on the way.
    Busy = 3,
    /// The answer is complete but perhaps not all in the kernel's hands.
    Finishing = 4,
}

/// Shared by the connection's task, the request body (which plugin code owns and may hold on to)
/// and the sweeper. Relaxed atomics only because the body must be `Send`; all run on one thread.
pub struct ConnState {
    phase: AtomicU8,
    /// The sweep in which the phase began, or in which a blocked write was first seen.
    since: AtomicU32,
    now: AtomicU32,
    in_flight: AtomicU32,
    /// The client does not take what we write.
    blocked: AtomicBool,
    /// The last request's body was read to its end, so the next byte begins a request.
    body_read: AtomicBool,
    expired: AtomicBool,
    task: AtomicWaker,
}

impl Default for ConnState {
    fn default() -> ConnState {
        ConnState {
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU32::new(0),
            now: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            body_read: AtomicBool::new(true),
            expired: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }
}

impl ConnState {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Fresh,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Busy,
            _ => Phase::Finishing,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.now.load(Relaxed), Relaxed);
    }

    fn bytes_came(&self) {
        if self.phase() <= Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn wrote(&self, ready: bool) {
        if self.blocked.load(Relaxed) == ready {
            self.blocked.store(!ready, Relaxed);
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    fn flushed(&self) {
        if self.phase() == Phase::Finishing {
            self.enter(Phase::Idle);
        }
    }

    pub fn request_begins(&self, has_body: bool) {
        self.in_flight.fetch_add(1, Relaxed);
        self.body_read.store(!has_body, Relaxed);
        self.enter(Phase::Busy);
    }

    pub fn request_body_ended(&self) {
        self.body_read.store(true, Relaxed);
    }

    pub fn request_ended(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.enter(Phase::Finishing);
        }
    }

    /// Between two requests, with no byte of either in the HTTP library's own state: what it has
    /// read but not parsed comes out with the connection.
    pub fn between_requests(&self) -> bool {
        self.phase() <= Phase::Head && self.body_read.load(Relaxed)
    }

    pub fn blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Sweeps spent in the present phase.
    pub fn age(&self) -> u32 {
        self.now.load(Relaxed).wrapping_sub(self.since.load(Relaxed))
    }

    pub fn sweep(&self, now: u32) {
        self.now.store(now, Relaxed);
    }

    /// A connection of an older worker begins its life here.
    pub fn born(&self, now: u32) {
        self.now.store(now, Relaxed);
        self.since.store(now, Relaxed);
    }

    pub fn expire(&self) {
        self.expired.store(true, Relaxed);
        self.task.wake();
    }

    pub fn expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    pub fn wake(&self) {
        self.task.wake();
    }

    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }
}
