//! Bodies of requests and responses: bytes at hand, what a client sends, or what a function makes bit by bit.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};

/// The body of a [`Request`](crate::Request) or a [`Response`](crate::Response).
///
/// It is read once, in pieces ([`chunk`](Self::chunk)) or as a whole ([`bytes`](Self::bytes),
/// [`text`](Self::text), [`json`](Self::json)). A request's body given to a response is passed through in
/// pieces.
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    /// A trait object, so that a plugin links the one WASI it uses and imports nothing of the other.
    Stream(Box<dyn Source>),
}

/// Where bytes come from that are not at hand.
pub(crate) trait Source {
    /// The next piece, or none at the end.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>>;
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self(Kind::Full(Bytes::new()))
    }

    /// A value as JSON.
    pub fn json_from<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Ok(Self(Kind::Full(serde_json::to_vec(value)?.into())))
    }

    /// A body that a function writes while it is sent. It gets on only as fast as the client reads. An error
    /// breaks the response off, which the client notices.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use host::{Body, Request, Response, task};
    ///
    /// #[host::http]
    /// fn ticks(_request: Request) -> Response {
    ///     Response::new(Body::stream(async |mut out| {
    ///         for n in 0..10 {
    ///             out.send(format!("tick {n}\n")).await;
    ///             task::sleep(Duration::from_secs(1)).await;
    ///         }
    ///         Ok(())
    ///     }))
    /// }
    /// ```
    pub fn stream<F, W>(write: F) -> Self
    where
        F: FnOnce(BodyWriter) -> W,
        W: Future<Output = Result<()>> + 'static,
    {
        let slot = Rc::new(RefCell::new(None));
        let future = Box::pin(write(BodyWriter(Rc::clone(&slot))));
        Self::from_source(Made { slot, future: Some(future) })
    }

    pub(crate) fn from_source(source: impl Source + 'static) -> Self {
        Self(Kind::Stream(Box::new(source)))
    }

    /// All bytes, if they are at hand.
    pub(crate) fn as_full(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            Kind::Stream(_) => None,
        }
    }

    /// The next piece, of any size but 0; none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    /// All bytes. What a client sends is bounded by the host's limits alone; see [`bytes_up_to`](Self::bytes_up_to).
    pub async fn bytes(self) -> Result<Bytes> {
        self.bytes_up_to(usize::MAX).await
    }

    /// All bytes, or an error if they are more than this.
    pub async fn bytes_up_to(mut self, limit: usize) -> Result<Bytes> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let mut all = first;
        let mut joined = BytesMut::new();
        while let Some(next) = {
            if all.len() + joined.len() > limit {
                return Err(format!("body exceeds {limit} bytes").into());
            }
            self.chunk().await?
        } {
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut all));
            }
            joined.extend_from_slice(&next);
        }
        Ok(if joined.is_empty() { all } else { joined.freeze() })
    }

    /// All of it as text; invalid UTF-8 is an error.
    pub async fn text(self) -> Result<String> {
        Ok(String::from_utf8(self.bytes().await?.into())?)
    }

    /// All of it as a JSON value.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        Ok(serde_json::from_slice(&self.bytes().await?)?)
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(Ok(None)),
            Kind::Full(bytes) => Poll::Ready(Ok(Some(std::mem::take(bytes)))),
            Kind::Stream(source) => source.poll_chunk(context),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Kind::Full(bytes.into()))
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.as_full() {
            Some(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            None => f.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let chunk = std::task::ready!(self.poll_chunk(context));
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)).transpose())
    }

    fn size_hint(&self) -> SizeHint {
        match self.as_full() {
            Some(bytes) => SizeHint::with_exact(bytes.len() as u64),
            None => SizeHint::default(),
        }
    }
}

type Slot = Rc<RefCell<Option<Bytes>>>;

/// The writing side of [`Body::stream`].
pub struct BodyWriter(Slot);

impl BodyWriter {
    /// Gives a piece to the client; returns when the host has taken it. Nothing is sent for no bytes.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return;
        }
        *self.0.borrow_mut() = Some(bytes);
        // The body's reader polls this future again after it has emptied the slot.
        poll_fn(|_| match *self.0.borrow() {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        })
        .await;
    }
}

/// A future that fills a slot, polled by who empties the slot; so neither needs to wake the other.
struct Made {
    slot: Slot,
    future: Option<Pin<Box<dyn Future<Output = Result<()>>>>>,
}

impl Source for Made {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let ended = match &mut self.future {
            Some(future) => future.as_mut().poll(context),
            None => Poll::Ready(Ok(())),
        };
        if ended.is_ready() {
            self.future = None;
        }
        match (self.slot.borrow_mut().take(), ended) {
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Some(bytes), _) => Poll::Ready(Ok(Some(bytes))),
            (None, Poll::Ready(Ok(()))) => Poll::Ready(Ok(None)),
            (None, Poll::Pending) => Poll::Pending,
        }
    }
}
