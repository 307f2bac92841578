//! The life of one instance: made, given requests for as long as it takes any, dropped.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use futures::Stream;
use futures::stream::FuturesUnordered;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, header};
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error, FieldMap, WasiHttpHooks, WasiHttpView, p3};

use super::desk::Desk;
use super::pool::Job;
use crate::worker::body::RequestBody;
use crate::worker::context::{Live, Worker};
use crate::worker::deadline::Deadline;
use crate::worker::failure::Failure;
use crate::worker::imports::ending;
use crate::worker::plugin::Handler;
use crate::worker::state::State;

/// Ends with the instance.
pub(super) async fn serve_jobs(worker: Rc<Worker>, desk: Rc<Desk>, live: Live) {
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
