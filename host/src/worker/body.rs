//! The two bodies of a request: what the client sends, on its way to the plugin, and what the
//! plugin answers, on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use wasmtime_wasi_http::Error;

use super::conn::ConnState;
use super::failure::Failure;
use super::ticket::Ticket;
use super::{wasi02, wasi03};

/// A request body as the plugin gets it. It may outlive the request, on any of its own terms.
pub enum RequestBody {
    Empty,
    Client { body: Incoming, meter: Meter },
}

pub struct Meter {
    conn: Arc<ConnState>,
    left: u64,
    spoiled: Arc<AtomicU8>,
}

/// Set once the client sent more than it may, or what is no body.
#[derive(Clone, Default)]
pub struct Spoiled(Option<Arc<AtomicU8>>);

const TOO_LARGE: u8 = 1;
const MALFORMED: u8 = 2;

impl Spoiled {
    pub fn failure(&self) -> Option<Failure> {
        match self.0.as_ref()?.load(Relaxed) {
            TOO_LARGE => Some(Failure::BodyTooLarge),
            MALFORMED => Some(Failure::BadRequest("the request body is malformed")),
            _ => None,
        }
    }
}

impl RequestBody {
    pub fn new(body: Incoming, conn: &Arc<ConnState>, max: Option<u64>) -> (RequestBody, Spoiled) {
        if body.is_end_stream() {
            return (RequestBody::Empty, Spoiled::default());
        }
        let spoiled = Arc::new(AtomicU8::new(0));
        let meter =
            Meter { conn: conn.clone(), left: max.unwrap_or(u64::MAX), spoiled: spoiled.clone() };
        (RequestBody::Client { body, meter }, Spoiled(Some(spoiled)))
    }
}

impl Meter {
    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), Error> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        match self.left.checked_sub(data.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.spoiled.store(TOO_LARGE, Relaxed);
                return Err(Error::HttpRequestBodySize(None));
            }
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let RequestBody::Client { body, meter } = &mut *self else { return Poll::Ready(None) };
        let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
            meter.conn.request_body_ended();
            return Poll::Ready(None);
        };
        let frame = frame.inspect_err(|_| meter.spoiled.store(MALFORMED, Relaxed))?;
        if body.is_end_stream() {
            meter.conn.request_body_ended();
        }
        Poll::Ready(Some(meter.count(&frame).map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client { body, .. } => body.size_hint(),
        }
    }
}

/// What the client gets. Its end is the end of the request.
pub struct ResponseBody {
    source: Source,
    ticket: Ticket,
}

pub enum Source {
    Whole(Bytes),
    Sequential(wasi02::Streaming),
    Concurrent(wasi03::Streaming),
    /// The plugin broke its body off.
    Failed,
    Ended,
}

impl ResponseBody {
    pub fn new(source: Source, ticket: Ticket) -> ResponseBody {
        ResponseBody { source, ticket }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = Source::Ended;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Source::Sequential(body) => ready!(body.poll_frame(cx)),
            Source::Concurrent(body) => ready!(body.poll_frame(cx)),
            Source::Failed => Some(Err(Error::HttpResponseIncomplete)),
            Source::Ended => None,
        };
        match &frame {
            Some(Ok(frame)) => this.ticket.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) | None => this.source = Source::Ended,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Ended => true,
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Ended => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
