//! A message body on its way out of the plugin: written through its output stream, read by the HTTP
//! library. Bounded, so that a slow reader makes the plugin wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use wasmtime::format_err;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::StreamContext;

/// What may wait for the reader, in bytes and in writes.
const CAPACITY: usize = 1 << 20;
const MOST_PIECES: usize = 16;

/// The plugin's `outgoing-body`.
pub struct OutgoingBody {
    pipe: Arc<Mutex<Pipe>>,
    stream_taken: bool,
}

/// The plugin's `output-stream` of a body.
struct Writer(Arc<Mutex<Pipe>>);

/// The HTTP library's end.
pub struct Reader(Arc<Mutex<Pipe>>);

struct Pipe {
    context: StreamContext,
    pieces: VecDeque<Bytes>,
    held: usize,
    end: End,
    /// Of the `content-length` the plugin set.
    expected: Option<u64>,
    written: u64,
    stream_open: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum End {
    NotYet,
    Finished,
    Trailers(Box<HeaderMap>),
    Aborted,
}

pub fn pipe(context: StreamContext, expected: Option<u64>) -> (OutgoingBody, Reader) {
    let pipe = Arc::new(Mutex::new(Pipe {
        context,
        pieces: VecDeque::new(),
        held: 0,
        end: End::NotYet,
        expected,
        written: 0,
        stream_open: false,
        reader_gone: false,
        reader: None,
        writer: None,
    }));
    (OutgoingBody { pipe: pipe.clone(), stream_taken: false }, Reader(pipe))
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Pipe {
    fn room(&self) -> usize {
        match self.pieces.len() < MOST_PIECES {
            true => CAPACITY.saturating_sub(self.held),
            false => 0,
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn end(&mut self, end: End) {
        if let End::NotYet = self.end {
            self.end = end;
            self.wake_reader();
        }
    }

    fn size_error(&self) -> ErrorCode {
        self.context.as_body_size_error(self.written)
    }
}

impl OutgoingBody {
    /// There is one stream to a body.
    pub fn stream(&mut self) -> Option<Box<dyn OutputStream>> {
        if std::mem::replace(&mut self.stream_taken, true) {
            return None;
        }
        lock(&self.pipe).stream_open = true;
        Some(Box::new(Writer(self.pipe.clone())))
    }

    /// The plugin may not end a body, in whatever way, before it has dropped its stream.
    pub fn stream_is_open(&self) -> bool {
        lock(&self.pipe).stream_open
    }

    pub fn finish(self, trailers: Option<HeaderMap>) -> Result<(), ErrorCode> {
        let mut pipe = lock(&self.pipe);
        if pipe.expected.is_some_and(|expected| expected != pipe.written) {
            pipe.end(End::Aborted);
            return Err(pipe.size_error());
        }
        pipe.end(match trailers {
            Some(trailers) => End::Trailers(Box::new(trailers)),
            None => End::Finished,
        });
        Ok(())
    }

    /// Dropped by the plugin before it was finished.
    pub fn abort(self) {
        lock(&self.pipe).end(End::Aborted);
    }
}

/// Left unfinished by an instance that is gone: whether it ended well is known from its call.
impl Drop for OutgoingBody {
    fn drop(&mut self) {
        lock(&self.pipe).end(End::Finished);
    }
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let mut pipe = lock(&self.0);
        if pipe.reader_gone {
            return Err(StreamError::Closed);
        }
        if bytes.len() > pipe.room() {
            return Err(StreamError::trap("write exceeded its permit"));
        }
        pipe.written += bytes.len() as u64;
        if pipe.expected.is_some_and(|expected| expected < pipe.written) {
            return Err(StreamError::LastOperationFailed(format_err!(pipe.size_error())));
        }
        if !bytes.is_empty() {
            pipe.held += bytes.len();
            pipe.pieces.push_back(bytes);
            pipe.wake_reader();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        match lock(&self.0).reader_gone {
            true => Err(StreamError::Closed),
            false => Ok(()),
        }
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        let pipe = lock(&self.0);
        match pipe.reader_gone {
            true => Err(StreamError::Closed),
            false => Ok(pipe.room()),
        }
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        poll_fn(|cx| {
            let mut pipe = lock(&self.0);
            if pipe.reader_gone || pipe.room() > 0 {
                return Poll::Ready(());
            }
            pipe.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.0).stream_open = false;
    }
}

/// Everything there is of a body whose writer is gone.
pub enum Rest {
    Whole(Bytes),
    /// More than bytes.
    Frames,
    Broken,
}

impl Reader {
    pub fn rest(&mut self) -> Rest {
        let mut pipe = lock(&self.0);
        match pipe.end {
            End::NotYet | End::Aborted => Rest::Broken,
            End::Trailers(_) => Rest::Frames,
            End::Finished => Rest::Whole(joined(&mut pipe.pieces)),
        }
    }
}

fn joined(pieces: &mut VecDeque<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.pop_front().unwrap_or_default(),
        _ => pieces.drain(..).collect::<Vec<Bytes>>().concat().into(),
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut pipe = lock(&self.0);
        if let Some(piece) = pipe.pieces.pop_front() {
            pipe.held -= piece.len();
            pipe.wake_writer();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let End::NotYet = pipe.end {
            if !pipe.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                pipe.reader = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(match std::mem::replace(&mut pipe.end, End::Finished) {
            End::Trailers(trailers) => Some(Ok(Frame::trailers(*trailers))),
            End::Aborted => Some(Err(Error::HttpProtocolError)),
            End::Finished | End::NotYet => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.reader_gone = true;
        pipe.pieces.clear();
        pipe.wake_writer();
    }
}
