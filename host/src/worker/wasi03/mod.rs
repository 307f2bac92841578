//! Plugins that export `wasi:http/handler@0.3`: an instance serves several requests at the same
//! time. Each instance is a task that takes requests from one queue; a request starts a new
//! instance only when no instance is about to look at the queue, so one that computes for long
//! keeps nobody waiting.

mod desk;
mod life;
mod pool;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use super::body::{RequestBody, Source, Spoiled};
use super::context::Worker;
use super::deadline::Deadline;
use super::failure::Failure;
use desk::{Client, ClientGuard};
use pool::Job;

pub use pool::Pool;

/// Asks the plugin for the answer to one request; ends with its head.
pub async fn respond(
    worker: &Rc<Worker>,
    request: Request<RequestBody>,
    spoiled: Spoiled,
) -> Result<Response<Source>, Failure> {
    let bodiless = request.method() == Method::HEAD;
    let pool = &worker.concurrent;
    let (reply, mut answer) = oneshot::channel();
    let client = Rc::new(Client::default());
    pool.queue.borrow_mut().push_back(Job { request, client: client.clone(), reply });
    pool.call_somebody(worker);
    let guard = ClientGuard(client);
    let mut deadline = Deadline::new(worker.limits().request_timeout);
    let answer = poll_fn(|cx| {
        if let Some(failure) = spoiled.failure() {
            return Poll::Ready(Err(failure));
        }
        match Pin::new(&mut answer).poll(cx) {
            Poll::Ready(Ok(result)) => Poll::Ready(result),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::Neighbor)),
            Poll::Pending if deadline.expired(cx) => Poll::Ready(Err(Failure::TimedOut)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if let Some(failure) = spoiled.failure() {
        return Err(failure);
    }
    let (parts, body) = answer?.into_parts();
    let source = match bodiless || body.is_end_stream() {
        true => Source::Whole(Bytes::new()),
        false => Source::Concurrent(Streaming { body, deadline, guard }),
    };
    Ok(Response::from_parts(parts, source))
}

/// An answer whose body the instance's task is writing.
pub struct Streaming {
    body: WasiBody,
    deadline: Deadline,
    guard: ClientGuard,
}

impl Streaming {
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            // The body of an instance that trapped looks complete; the client must not think so.
            Poll::Ready(None) if self.guard.lost_its_instance() => {
                Poll::Ready(Some(Err(Error::HttpResponseIncomplete)))
            }
            Poll::Ready(frame) => {
                self.deadline.restart();
                Poll::Ready(frame)
            }
            Poll::Pending if self.deadline.expired(cx) => {
                Poll::Ready(Some(Err(Error::HttpResponseTimeout)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
