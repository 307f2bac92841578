//! Plugins that export `wasi:http/incoming-handler@0.2`: one request at a time in an instance, as a
//! plain call polled where the answer is wanted. A call that ends in its first poll, which is the
//! usual case, costs no task, channel or timer.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::{Body, Frame};
use wasmtime::Store;
use wasmtime::component::ComponentExportIndex;
use wasmtime_wasi_http::Error;

use super::body::{RequestBody, Source, Spoiled};
use super::context::{Live, Worker};
use super::deadline::Deadline;
use super::failure::Failure;
use super::http02::{Handle, IncomingRequest, Outparam, Reader, Rest};
use super::imports::ending;
use super::settings::Limits;
use super::state::State;

/// Without a setting, a fresh instance for every request.
const DEFAULT_REUSE: u32 = 1;

struct Instance {
    handle: Handle,
    store: Store<State>,
    served: u32,
    returned: u32,
    _live: Live,
}

impl Instance {
    async fn new(worker: &Worker, handle: ComponentExportIndex) -> Result<Instance, Failure> {
        let live = worker.live.one_more().ok_or(Failure::Overload)?;
        let mut store = worker.plugin.store();
        let made: wasmtime::Result<Handle> = async {
            let instance = worker.plugin.pre.instantiate_async(&mut store).await?;
            instance.get_typed_func(&mut store, handle)
        }
        .await;
        match made {
            Ok(handle) => Ok(Instance { handle, store, served: 0, returned: 0, _live: live }),
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

/// Asks the plugin for the answer to one request; ends with its head.
pub async fn respond(
    worker: &Rc<Worker>,
    handle: ComponentExportIndex,
    request: Request<RequestBody>,
    spoiled: Spoiled,
) -> Result<Response<Source>, Failure> {
    let bodiless = request.method() == Method::HEAD;
    let request = IncomingRequest::new(request).ok_or(Failure::BadRequest("host is not text"))?;
    let outparam = Outparam::default();
    let call = call(worker.clone(), handle, request, outparam.clone());
    let mut run = Some(Run::new(worker, call));
    let answer = poll_fn(|cx| {
        let polled = run.as_mut().expect("polled after its end").poll(cx);
        match polled {
            Poll::Ready(result) => {
                run = None;
                Poll::Ready(result.and_then(|()| outparam.take().ok_or(Failure::NoAnswer)))
            }
            Poll::Pending if let Some(failure) = spoiled.failure() => Poll::Ready(Err(failure)),
            Poll::Pending => match outparam.take() {
                Some(answer) => Poll::Ready(Ok(answer)),
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
    let response: Response<Option<Reader>> = answer?.map_err(Failure::from)?;
    let left = content_length(response.headers());
    Ok(response.map(|body| match (run, body) {
        (run, None) => {
            let_run(run);
            Source::Whole(Bytes::new())
        }
        (run @ Some(_), Some(_)) if bodiless => {
            let_run(run);
            Source::Whole(Bytes::new())
        }
        (run @ Some(_), Some(body)) => Source::Sequential(Streaming { run, body, left }),
        (None, Some(body)) => ended(body),
    }))
}

/// The body of a plugin that has ended is all here: sent in one piece, with its length.
fn ended(mut body: Reader) -> Source {
    match body.rest() {
        Rest::Whole(bytes) => Source::Whole(bytes),
        Rest::Frames => Source::Sequential(Streaming { run: None, body, left: None }),
        Rest::Broken => Source::Failed,
    }
}

fn content_length(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn call(
    worker: Rc<Worker>,
    handle: ComponentExportIndex,
    request: IncomingRequest,
    outparam: Outparam,
) -> Result<(), Failure> {
    let idle = worker.sequential.idle.borrow_mut().pop();
    let mut instance = match idle {
        Some(instance) => instance,
        None => Instance::new(&worker, handle).await?,
    };
    let store = &mut instance.store;
    store.set_epoch_deadline(super::epoch::TICKS_PER_TURN);
    let table = &mut store.data_mut().table;
    let pushed = table.push(request).and_then(|request| Ok((request, table.push(outparam)?)));
    let arguments = pushed.map_err(|error| Failure::Trapped(error.to_string()))?;
    match instance.handle.call_async(store, arguments).await {
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
    body: Reader,
    /// Of the length the plugin declared.
    left: Option<u64>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Error>>>;

impl Streaming {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
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
}

fn let_run(run: Option<Run>) {
    if let Some(run) = run
        && tokio::runtime::Handle::try_current().is_ok()
    {
        tokio::task::spawn_local(run.finish());
    }
}

impl Drop for Streaming {
    /// Once the client has everything, the plugin may finish; while it has not, nobody is left to
    /// finish for.
    fn drop(&mut self) {
        if self.left == Some(0) {
            let_run(self.run.take());
        }
    }
}
