//! Client bytes in, plugin answers out: HTTP/1.1 and cleartext HTTP/2 on one connection, by hyper.
//! Everything a client sends is hostile until hyper has parsed it and the limits here have passed.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;

use super::body::{RequestBody, ResponseBody, Source};
use super::conn::{Conn, ConnState, Phase};
use super::context::{Drain, Enrolled, Worker};
use super::failure::Failure;
use super::plugin::Handler;
use super::ticket::Ticket;
use super::{strict, wasi02, wasi03};
use crate::ipc::message::Ends;

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_STREAMS: u32 = 256;

/// Serves one connection to its end, or until a drain takes it back. It counts from now on.
pub fn serve(conn: Conn, worker: &Rc<Worker>) {
    let enrolled = Enrolled::new(worker, &conn.state);
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        tell_apart(conn, worker).await;
        drop(enrolled);
    });
}

async fn tell_apart(mut conn: Conn, worker: Rc<Worker>) {
    let state = conn.state.clone();
    let sniffed = until_expired(&state, &worker, conn.peek(told_apart)).await;
    match sniffed {
        // Boxed, so that the many connections of the other kind are not as large as this one.
        Some(Ok(true)) => Box::pin(serve_h2(conn, worker.clone())).await,
        Some(Ok(false)) => serve_h1(conn, worker.clone()).await,
        Some(Err(_)) => {}
        None => release(&worker, conn, Bytes::new()),
    }
}

/// Enough bytes to say whether this is HTTP/2: one that differs, or the whole preface.
fn told_apart(bytes: &[u8]) -> Option<bool> {
    let common = bytes.len().min(H2_PREFACE.len());
    match bytes[..common] == H2_PREFACE[..common] {
        false => Some(false),
        true => (common == H2_PREFACE.len()).then_some(true),
    }
}

/// Polls `work` until it is done, or the connection's time is over while nothing was asked yet.
async fn until_expired<T>(
    state: &ConnState,
    worker: &Worker,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        state.register(cx);
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if state.expired() || may_leave(state, worker) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Whether a drain may take this connection now.
fn may_leave(state: &ConnState, worker: &Worker) -> bool {
    match worker.draining() {
        Some(Drain::Release(_)) => state.between_requests(),
        Some(Drain::Close) => state.phase() <= Phase::Idle && worker.grace_is_over(state),
        None => false,
    }
}

fn release(worker: &Worker, conn: Conn, read: Bytes) {
    if let Some(Drain::Release(take)) = worker.draining()
        && !conn.state.expired()
        && let Ok(released) = conn.release(read)
    {
        take(released);
    }
}

async fn serve_h1(conn: Conn, worker: Rc<Worker>) {
    let state = conn.state.clone();
    let service = service(&conn, &worker);
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size((worker.limits().max_header_size as usize).max(8192))
        .serve_connection(TokioIo::new(conn), service);
    let ended = poll_fn(|cx| {
        state.register(cx);
        match Pin::new(&mut http).poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if state.expired() || may_leave(&state, &worker) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if !ended && state.between_requests() {
        let parts = http.into_parts();
        release(&worker, parts.io.into_inner(), parts.read_buf);
    }
}

async fn serve_h2(conn: Conn, worker: Rc<Worker>) {
    let state = conn.state.clone();
    let service = service(&conn, &worker);
    let mut http = http2::Builder::new(SpawnLocal)
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(worker.limits().max_header_size)
        .serve_connection(TokioIo::new(conn), service);
    let mut told = false;
    poll_fn(|cx| {
        state.register(cx);
        if !told && worker.is_draining() {
            told = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        match Pin::new(&mut http).poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending if state.expired() => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// HTTP/2 serves the requests of a connection in tasks of their own.
#[derive(Clone)]
struct SpawnLocal;

impl<F: Future + 'static> Executor<F> for SpawnLocal
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

fn service(
    conn: &Conn,
    worker: &Rc<Worker>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<ResponseBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<>,
> + use<> {
    let (worker, state, ends) = (worker.clone(), conn.state.clone(), conn.ends.clone());
    service_fn(move |request| handle(worker.clone(), state.clone(), ends.clone(), request))
}

async fn handle(
    worker: Rc<Worker>,
    conn: Arc<ConnState>,
    ends: Ends,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut ticket = Ticket::new(&worker, &conn, ends.peer, &request);
    let version = request.version();
    if version == Version::HTTP_10 {
        name_a_host(request.headers_mut(), ends.local);
    }
    let result = match ticket.too_many {
        true => Err(Failure::Overload),
        false => answer(&worker, &conn, request).await,
    };
    let mut closes = matches!(worker.draining(), Some(Drain::Close));
    let mut response = result.unwrap_or_else(|failure| {
        worker.report(&failure);
        closes |= failure.ends_connection();
        failure.response().map(Source::Whole)
    });
    ticket.answered(response.status().as_u16());
    // One that is handed on instead of closed goes on as if nothing had happened.
    if closes && version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|source| ResponseBody::new(source, ticket)))
}

/// HTTP/1.0 knows no `host`, and plugins expect one: where the client connected to.
fn name_a_host(headers: &mut HeaderMap, local: Option<SocketAddr>) {
    if !headers.contains_key(header::HOST) {
        let host = local.map_or("localhost".to_owned(), |address| address.to_string());
        let host = HeaderValue::try_from(host).expect("an address is visible ASCII");
        headers.insert(header::HOST, host);
    }
}

async fn answer(
    worker: &Rc<Worker>,
    conn: &Arc<ConnState>,
    request: Request<Incoming>,
) -> Result<Response<Source>, Failure> {
    let max_body = worker.limits().max_body_size;
    strict::check(request.method(), request.uri(), request.version(), request.headers())?;
    if request.body().size_hint().lower() > max_body.unwrap_or(u64::MAX) {
        return Err(Failure::BodyTooLarge);
    }
    let (parts, body) = request.into_parts();
    let (body, spoiled) = RequestBody::new(body, conn, max_body);
    let request = Request::from_parts(parts, body);
    match &worker.plugin.handler {
        Handler::V02(handle) => wasi02::respond(worker, *handle, request, spoiled).await,
        Handler::V03(_) => wasi03::respond(worker, request, spoiled).await,
        // Their connections do not come here.
        Handler::Connections(_) | Handler::Accepts | Handler::Nobody => Err(Failure::NoAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_tells_http1() {
        assert_eq!(told_apart(b"GET"), Some(false));
        assert_eq!(told_apart(b"PRI * H"), None);
        assert_eq!(told_apart(b"PRI /"), Some(false));
        assert_eq!(told_apart(b""), None);
        assert_eq!(told_apart(&[H2_PREFACE, b"more"].concat()), Some(true));
    }
}
