//! Plugins that export `wasi:http/handler@0.3`: an instance serves several requests at the same
//! time. Each instance is a task that takes requests from one queue; a request starts a new
//! instance only when no instance is about to look at the queue, so one that computes for long
//! keeps nobody waiting.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::FuturesUnordered;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Response, header};
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, WasiHttpHooks, WasiHttpView, p3};

use super::body::{RequestBody, Source, Spoiled};
use super::context::{Live, Worker};
use super::deadline::Deadline;
use super::failure::Failure;
use super::imports::ending;
use super::plugin::Handler;
use super::settings::Limits;
use super::state::State;

const DEFAULT_REUSE: u32 = 128;
const DEFAULT_CONCURRENT: u32 = 16;

pub struct Pool {
    queue: RefCell<VecDeque<Job>>,
    /// Instances with room for one more request, waiting to be woken.
    listening: RefCell<Vec<Rc<Desk>>>,
    /// Instances woken or started that have not looked at the queue since.
    about_to_look: Cell<u32>,
    reuse: u32,
    concurrent: u32,
    idle_timeout: Duration,
    round: Cell<u32>,
    reaping: Cell<bool>,
}

impl Pool {
    pub fn new(limits: &Limits) -> Pool {
        let no_limit = |count| if count == 0 { u32::MAX } else { count };
        Pool {
            queue: RefCell::default(),
            listening: RefCell::default(),
            about_to_look: Cell::new(0),
            reuse: no_limit(limits.max_instance_reuse_count.unwrap_or(DEFAULT_REUSE)),
            concurrent: no_limit(
                limits.max_instance_concurrent_reuse_count.unwrap_or(DEFAULT_CONCURRENT),
            ),
            idle_timeout: limits.idle_instance_timeout.max(Duration::from_millis(10)),
            round: Cell::new(0),
            reaping: Cell::new(false),
        }
    }

    /// Makes sure that somebody looks at the queue soon.
    fn call_somebody(&self, worker: &Rc<Worker>) {
        if self.queue.borrow().is_empty() || self.about_to_look.get() > 0 {
            return;
        }
        let listener = self.listening.borrow_mut().pop();
        if let Some(desk) = listener {
            desk.listening.set(false);
            self.will_look(&desk);
            desk.wake();
        } else if let Some(live) = worker.live.one_more() {
            let desk = Rc::new(Desk::default());
            self.will_look(&desk);
            tokio::task::spawn_local(serve_jobs(worker.clone(), desk, live));
        } else {
            let job = self.queue.borrow_mut().pop_back();
            if let Some(job) = job {
                job.answer(Err(Failure::Overload));
            }
        }
    }

    /// The oldest request whose client is still there.
    fn take_job(&self) -> Option<Job> {
        let mut queue = self.queue.borrow_mut();
        loop {
            let job = queue.pop_front()?;
            if !job.client.gone.get() {
                return Some(job);
            }
        }
    }

    fn listen(&self, worker: &Rc<Worker>, desk: &Rc<Desk>) {
        if !desk.listening.replace(true) {
            self.listening.borrow_mut().push(desk.clone());
            if !self.reaping.replace(true) {
                tokio::task::spawn_local(reap(worker.clone()));
            }
        }
    }

    fn stop_listening(&self, desk: &Rc<Desk>) {
        if desk.listening.replace(false) {
            self.listening.borrow_mut().retain(|other| !Rc::ptr_eq(other, desk));
        }
    }

    fn will_look(&self, desk: &Desk) {
        desk.will_look.set(true);
        self.about_to_look.set(self.about_to_look.get() + 1);
    }

    fn looked(&self, desk: &Desk) {
        if desk.will_look.replace(false) {
            self.about_to_look.set(self.about_to_look.get() - 1);
        }
    }
}

struct Job {
    request: Request<RequestBody>,
    client: Rc<Client>,
    reply: oneshot::Sender<Result<Response<WasiBody>, Failure>>,
}

impl Job {
    fn answer(self, result: Result<Response<WasiBody>, Failure>) {
        let _ = self.reply.send(result);
    }
}

/// The one who waits for an answer; when it is gone, its instance must know.
#[derive(Default)]
struct Client {
    gone: Cell<bool>,
    answered: Cell<bool>,
    desk: RefCell<Option<Rc<Desk>>>,
}

struct ClientGuard(Rc<Client>);

impl ClientGuard {
    fn lost_its_instance(&self) -> bool {
        self.0.desk.borrow().as_ref().is_some_and(|desk| desk.trapped.get())
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.gone.set(true);
        if let Some(desk) = self.0.desk.take() {
            if self.0.answered.get() {
                desk.streaming.set(desk.streaming.get() - 1);
            }
            desk.wake();
        }
    }
}

/// What an instance's task shares with its clients and with the pool.
#[derive(Default)]
struct Desk {
    will_look: Cell<bool>,
    listening: Cell<bool>,
    /// At most one request is taken per poll: the next one waits until the plugin has given way.
    may_take: Cell<bool>,
    took: Cell<bool>,
    trapped: Cell<bool>,
    /// Takes no more requests.
    closing: Cell<bool>,
    /// Has no request and no work left of one, since this round of the reaper.
    idle: Cell<Option<u32>>,
    served: Cell<u32>,
    streaming: Cell<u32>,
    waiting: RefCell<Vec<Rc<Client>>>,
    waker: RefCell<Option<Waker>>,
}

impl Desk {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Looks after clients that left before their answer: nothing can cancel a plugin's task alone,
    /// so the instance takes no more, and ends when nobody else needs it. Says whether that is now.
    fn abandoned(&self) -> bool {
        let waiting = self.waiting.borrow();
        if waiting.iter().any(|client| client.gone.get()) {
            self.closing.set(true);
        }
        !waiting.is_empty()
            && self.streaming.get() == 0
            && waiting.iter().all(|client| client.gone.get())
    }

    fn wanted(&self) -> bool {
        self.streaming.get() > 0 || !self.waiting.borrow().is_empty()
    }

    fn admit(self: &Rc<Self>, client: &Rc<Client>) {
        *client.desk.borrow_mut() = Some(self.clone());
        self.waiting.borrow_mut().push(client.clone());
    }

    fn answered(&self, client: &Rc<Client>) {
        self.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, client));
        if !client.gone.get() {
            client.answered.set(true);
            self.streaming.set(self.streaming.get() + 1);
        }
    }
}

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

/// The life of one instance.
async fn serve_jobs(worker: Rc<Worker>, desk: Rc<Desk>, live: Live) {
    let pool = &worker.concurrent;
    let result = match instantiate(&worker).await {
        Ok((mut store, service)) => {
            let result = run(&worker, &desk, &mut store, &service).await;
            desk.trapped.set(result.is_err());
            match result {
                Err(error) if ending(&error).is_none() => Err(worker.trapped(&error, store.data())),
                _ => Ok(()),
            }
        }
        Err(failure) => {
            let job = pool.queue.borrow_mut().pop_front();
            if let Some(job) = job {
                job.answer(Err(Failure::Neighbor));
            }
            Err(failure)
        }
    };
    drop(live);
    pool.stop_listening(&desk);
    pool.looked(&desk);
    if let Err(failure) = result {
        worker.report(&failure);
    }
    pool.call_somebody(&worker);
}

async fn instantiate(worker: &Worker) -> Result<(Store<State>, Service), Failure> {
    let Handler::V03(pre) = &worker.plugin.handler else {
        unreachable!("only 0.3 plugins come here")
    };
    let mut store = worker.plugin.store();
    let service = {
        let mut work = pin!(pre.instantiate_async(&mut store));
        poll_fn(|cx| {
            let _turn = worker.epoch.enter();
            work.as_mut().poll(cx)
        })
        .await
    };
    match service {
        Ok(service) => Ok((store, service)),
        Err(error) => Err(Failure::Instantiate(format!("{error:#}"))),
    }
}

/// Ends when the instance has served its share, or nobody wants it any more, or it trapped.
async fn run(
    worker: &Rc<Worker>,
    desk: &Rc<Desk>,
    store: &mut Store<State>,
    service: &Service,
) -> wasmtime::Result<()> {
    let pool = &worker.concurrent;
    let mut linger = Deadline::new(worker.limits().request_timeout);
    let mut work = pin!(
        store.run_concurrent(async |accessor| take_jobs(accessor, service, worker, desk).await)
    );
    poll_fn(|cx| {
        desk.register(cx);
        pool.looked(desk);
        loop {
            desk.may_take.set(true);
            let _turn = worker.epoch.enter();
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(result.flatten());
            }
            if !desk.took.replace(false) || pool.queue.borrow().is_empty() {
                break;
            }
        }
        pool.call_somebody(worker);
        if desk.abandoned() || (desk.closing.get() && desk.idle.get().is_some()) {
            return Poll::Ready(Ok(()));
        }
        if desk.wanted() || desk.idle.get().is_some() {
            linger.clear();
        } else if linger.expired(cx) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    })
    .await
}

/// Runs inside the instance's event loop, which polls it again whenever the plugin gives way.
async fn take_jobs(
    accessor: &Accessor<State>,
    service: &Service,
    worker: &Rc<Worker>,
    desk: &Rc<Desk>,
) -> wasmtime::Result<()> {
    let pool = &worker.concurrent;
    let handle = *service.wasi_http_handler().func_handle().func();
    let mut calls = pin!(FuturesUnordered::new());
    poll_fn(|cx| {
        let mut took = false;
        loop {
            if let Poll::Ready(Some(Err(error))) = calls.as_mut().poll_next(cx) {
                return Poll::Ready(Err(error));
            }
            let open = !desk.closing.get() && desk.served.get() < pool.reuse;
            let room = open
                && calls.len() < pool.concurrent as usize
                && accessor.poll_ready_for_concurrent_call(handle, cx).is_ready();
            if room
                && desk.may_take.get()
                && let Some(job) = pool.take_job()
            {
                took = true;
                desk.took.set(true);
                desk.may_take.set(false);
                desk.idle.set(None);
                desk.served.set(desk.served.get() + 1);
                calls.push(serve_one(accessor, service, desk.clone(), job));
                continue;
            }
            match room && !took {
                true => pool.listen(worker, desk),
                false => pool.stop_listening(desk),
            }
            if !calls.is_empty() || accessor.poll_no_interesting_tasks(cx).is_pending() {
                return Poll::Pending;
            }
            if !open {
                return Poll::Ready(Ok(()));
            }
            if desk.idle.get().is_none() {
                desk.idle.set(Some(pool.round.get()));
            }
            return Poll::Pending;
        }
    })
    .await
}

async fn serve_one(
    accessor: &Accessor<State>,
    service: &Service,
    desk: Rc<Desk>,
    job: Job,
) -> wasmtime::Result<()> {
    let Job { request, client, reply } = job;
    desk.admit(&client);
    let (request, sent) = accessor.with(|mut store| -> wasmtime::Result<_> {
        let http = store.data_mut().http();
        let (request, sent) = p3_request(http.hooks, request);
        Ok((http.table.push(request)?, sent))
    })?;
    let answer = match service.wasi_http_handler().call_handle(accessor, request).await? {
        Ok(response) => Ok(accessor.with(|mut store| -> wasmtime::Result<_> {
            let response = store.data_mut().http().table.delete(response)?;
            response.into_http(&mut store, sent)
        })?),
        Err(code) => Err(Failure::from(code)),
    };
    desk.answered(&client);
    let _ = reply.send(answer);
    Ok(())
}

type Sent = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// HTTP/1.1 names the authority in `host`, which plugins do not see.
fn p3_request(hooks: &mut dyn WasiHttpHooks, request: Request<RequestBody>) -> (p3::Request, Sent) {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.into_parts();
    let from_host =
        |headers: &HeaderMap| Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok();
    let authority = uri.authority.or_else(|| from_host(&parts.headers));
    let scheme = Some(uri.scheme.unwrap_or(Scheme::HTTP));
    let headers = FieldMap::new_immutable(hooks, parts.headers);
    let (request, sent) =
        p3::Request::new(parts.method, scheme, authority, uri.path_and_query, headers, None, body);
    (request, Box::pin(sent))
}

/// Tells instances that nobody wanted for a whole round to end; runs only while there are any.
async fn reap(worker: Rc<Worker>) {
    let pool = &worker.concurrent;
    while !pool.listening.borrow().is_empty() {
        tokio::time::sleep(pool.idle_timeout).await;
        let round = pool.round.replace(pool.round.get().wrapping_add(1));
        for desk in pool.listening.borrow().iter() {
            if desk.idle.get().is_some_and(|since| since != round) {
                desk.closing.set(true);
                desk.wake();
            }
        }
    }
    pool.reaping.set(false);
}
