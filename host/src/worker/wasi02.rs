//! Plugins that export `wasi:http/incoming-handler@0.2`: one request at a time in an instance, as a
//! plain call polled where the answer is wanted. A call that ends in its first poll, which is the
//! usual case, costs no task, channel or timer.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::{Body, Frame};
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView};

use super::body::{RequestBody, Source, Spoiled};
use super::context::{Live, Worker};
use super::deadline::Deadline;
use super::failure::Failure;
use super::imports::ending;
use super::settings::Limits;
use super::state::State;

/// Without a setting, a fresh instance for every request.
const DEFAULT_REUSE: u32 = 1;

struct Instance {
    proxy: Proxy,
    store: Store<State>,
    served: u32,
    returned: u32,
    _live: Live,
}

impl Instance {
    async fn new(worker: &Worker, pre: &ProxyPre<State>, live: Live) -> Result<Instance, Failure> {
        let mut store = worker.plugin.store();
        match pre.instantiate_async(&mut store).await {
            Ok(proxy) => Ok(Instance { proxy, store, served: 0, returned: 0, _live: live }),
            Err(error) => Err(Failure::Instantiate(format!("{error:#}"))),
        }
    }
}

/// Instances between two requests, the last used first: its memory is in the caches.
pub struct Pool {
    idle: RefCell<Vec<Instance>>,
    reuse: u32,
    timeout: Duration,
    round: Cell<u32>,
    reaping: Cell<bool>,
}

impl Pool {
    pub fn new(limits: &Limits) -> Pool {
        let reuse = match limits.max_instance_reuse_count.unwrap_or(DEFAULT_REUSE) {
            0 => u32::MAX,
            count => count,
        };
        Pool {
            idle: RefCell::default(),
            reuse,
            timeout: limits.idle_instance_timeout,
            round: Cell::new(0),
            reaping: Cell::new(false),
        }
    }

    fn give_back(&self, worker: &Rc<Worker>, mut instance: Instance) {
        instance.served += 1;
        if instance.served >= self.reuse {
            return;
        }
        instance.returned = self.round.get();
        self.idle.borrow_mut().push(instance);
        if !self.reaping.replace(true) {
            tokio::task::spawn_local(reap(worker.clone()));
        }
    }
}

/// Drops instances that nobody wanted for a whole round; runs only while there are any.
async fn reap(worker: Rc<Worker>) {
    let pool = &worker.sequential;
    while !pool.idle.borrow().is_empty() {
        tokio::time::sleep(pool.timeout.max(Duration::from_millis(10))).await;
        let round = pool.round.replace(pool.round.get().wrapping_add(1));
        let unused = |instance: &Instance| instance.returned != round;
        let dropped: Vec<Instance> =
            pool.idle.borrow_mut().extract_if(.., |instance| unused(instance)).collect();
        drop(dropped);
    }
    pool.reaping.set(false);
}

/// What the plugin handed to its `response-outparam`.
type Reply = Arc<Mutex<Option<Result<Response<HyperOutgoingBody>, ErrorCode>>>>;

/// Asks the plugin for the answer to one request; ends with its head.
pub async fn respond(
    worker: &Rc<Worker>,
    pre: &ProxyPre<State>,
    request: Request<RequestBody>,
    spoiled: Spoiled,
) -> Result<Response<Source>, Failure> {
    let bodiless = request.method() == Method::HEAD;
    let reply = Reply::default();
    let call = call(worker.clone(), pre.clone(), request, reply.clone());
    let mut run = Some(Run::new(worker, call));
    let answer = poll_fn(|cx| {
        let polled = run.as_mut().expect("polled after its end").poll(cx);
        match polled {
            Poll::Ready(result) => {
                run = None;
                Poll::Ready(result.and_then(|()| take(&reply).unwrap_or(Err(Failure::NoAnswer))))
            }
            Poll::Pending if let Some(failure) = spoiled.failure() => Poll::Ready(Err(failure)),
            Poll::Pending => match take(&reply) {
                Some(answer) => Poll::Ready(answer),
                None if run.as_mut().is_some_and(|run| run.deadline.expired(cx)) => {
                    Poll::Ready(Err(Failure::TimedOut))
                }
                None => Poll::Pending,
            },
        }
    })
    .await;
    if let Some(failure) = spoiled.failure() {
        return Err(failure);
    }
    let (parts, body) = answer?.into_parts();
    let mut streaming =
        Streaming { run, body, read: Vec::new(), left: content_length(&parts.headers) };
    let source = match streaming.run.is_some() {
        true if bodiless => {
            streaming.let_run();
            Source::Whole(Bytes::new())
        }
        true => Source::Sequential(streaming),
        false => streaming.gather(),
    };
    Ok(Response::from_parts(parts, source))
}

fn take(reply: &Reply) -> Option<Result<Response<HyperOutgoingBody>, Failure>> {
    let reply = reply.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    reply.map(|reply| reply.map_err(Failure::from))
}

fn content_length(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn call(
    worker: Rc<Worker>,
    pre: ProxyPre<State>,
    request: Request<RequestBody>,
    reply: Reply,
) -> Result<(), Failure> {
    let idle = worker.sequential.idle.borrow_mut().pop();
    let mut instance = match idle {
        Some(instance) => instance,
        None => {
            let live = worker.live.one_more().ok_or(Failure::Overload)?;
            Instance::new(&worker, &pre, live).await?
        }
    };
    let store = &mut instance.store;
    store.set_epoch_deadline(super::epoch::TICKS_PER_TURN);
    let mut http = store.data_mut().http();
    let request = http
        .new_incoming_request(Scheme::Http, request)
        .map_err(|_| Failure::BadRequest("host is not text"))?;
    let answer = http
        .new_response_outparam_from_callback(move |answer| {
            *reply.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(answer);
        })
        .map_err(|error| Failure::Trapped(error.to_string()))?;
    let result =
        instance.proxy.wasi_http_incoming_handler().call_handle(store, request, answer).await;
    match result {
        Ok(()) => {
            worker.sequential.give_back(&worker, instance);
            Ok(())
        }
        // An answer it has given already is still sent.
        Err(error) if ending(&error).is_some() => Ok(()),
        Err(error) => Err(worker.trapped(&error, instance.store.data())),
    }
}

type Call = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// A plugin at work on one request.
struct Run {
    call: Call,
    worker: Rc<Worker>,
    deadline: Deadline,
}

impl Run {
    fn new(worker: &Rc<Worker>, call: impl Future<Output = Result<(), Failure>> + 'static) -> Run {
        let deadline = Deadline::new(worker.limits().request_timeout);
        Run { call: Box::pin(call), worker: worker.clone(), deadline }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let _turn = self.worker.epoch.enter();
        self.call.as_mut().poll(cx)
    }

    /// What a plugin does after its answer is complete has a time limit too.
    async fn finish(mut self) {
        self.deadline.restart();
        let result = poll_fn(|cx| match self.poll(cx) {
            Poll::Pending if self.deadline.expired(cx) => Poll::Ready(Err(Failure::TimedOut)),
            polled => polled,
        })
        .await;
        if let Err(failure) = result {
            self.worker.report(&failure);
        }
    }
}

/// An answer whose body is still being written. Reading it is what drives the plugin, so a slow
/// client slows its plugin down, and one that is gone ends it.
pub struct Streaming {
    run: Option<Run>,
    body: HyperOutgoingBody,
    /// Taken from the body before the rest of it was found to be still to come.
    read: Vec<Frame<Bytes>>,
    /// Of the length the plugin declared.
    left: Option<u64>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Error>>>;

impl Streaming {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if !self.read.is_empty() {
            return Poll::Ready(Some(Ok(self.read.remove(0))));
        }
        if let Some(run) = &mut self.run
            && let Poll::Ready(result) = run.poll(cx)
        {
            let worker = run.worker.clone();
            self.run = None;
            if let Err(failure) = result {
                worker.report(&failure);
                return Poll::Ready(Some(Err(Error::HttpResponseIncomplete)));
            }
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.still_waiting(cx),
        };
        self.count(&frame);
        Poll::Ready(frame)
    }

    fn still_waiting(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(run) = &mut self.run else { return Poll::Pending };
        if !run.deadline.expired(cx) {
            return Poll::Pending;
        }
        run.worker.report(&Failure::TimedOut);
        self.run = None;
        Poll::Ready(Some(Err(Error::HttpResponseTimeout)))
    }

    fn count(&mut self, frame: &Option<Result<Frame<Bytes>, Error>>) {
        if let Some(run) = &mut self.run {
            run.deadline.restart();
        }
        match frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
            }
            _ => self.left = Some(0),
        }
    }

    /// The body of a plugin that has ended is all here: sent in one piece, with its length.
    fn gather(mut self) -> Source {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut self.body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => self.read.push(frame),
                Poll::Ready(Some(Ok(trailers))) => {
                    self.read.push(trailers);
                    return Source::Sequential(self);
                }
                Poll::Ready(None) => return Source::Whole(joined(&mut self.read)),
                Poll::Ready(Some(Err(_))) | Poll::Pending => return Source::Failed,
            }
        }
    }

    fn let_run(&mut self) {
        if let Some(run) = self.run.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            tokio::task::spawn_local(run.finish());
        }
    }
}

impl Drop for Streaming {
    /// Once the client has everything, the plugin may finish; while it has not, nobody is left to
    /// finish for.
    fn drop(&mut self) {
        if self.left == Some(0) {
            self.let_run();
        }
    }
}

fn joined(frames: &mut Vec<Frame<Bytes>>) -> Bytes {
    let mut pieces = frames.drain(..).filter_map(|frame| frame.into_data().ok());
    let Some(first) = pieces.next() else { return Bytes::new() };
    let mut rest = pieces.peekable();
    if rest.peek().is_none() {
        return first;
    }
    let mut all = first.to_vec();
    rest.for_each(|piece| all.extend_from_slice(&piece));
    Bytes::from(all)
}
