//! One accepted connection: the socket, the bytes a former owner already read from it, and the
//! state that the connection's task, its request and the sweeper share. Client bytes only.

mod state;

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::ipc::message::Ends;

pub use state::{ConnState, Phase};

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
