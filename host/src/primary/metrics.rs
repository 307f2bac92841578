//! `--metrics ADDR`: figures in the Prometheus text format, and whether the host is alive and ready.
//! Clients are not trusted: few at a time, small heads, no bodies, and each a bounded time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::control::Orders;
use super::exposition;

const MAX_CLIENTS: usize = 16;
const MAX_HEAD: usize = 16 * 1024;
const HEAD_TIME: Duration = Duration::from_secs(5);
/// However slowly a client reads or asks.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Binds before the host serves, so that a taken address is a start-up error.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    let open = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        std::io::Result::Ok(listener)
    };
    open().with_context(|| format!("--metrics: bind {address}"))
}

pub async fn serve(listener: TcpListener, orders: Orders) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let orders = orders.clone();
        tokio::task::spawn_local(async move {
            let _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, orders)).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, orders: Orders) {
    let service = service_fn(move |request| answer(request, orders.clone()));
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    orders: Orders,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(reply(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into()));
    }
    // The event loop answers, so that one that hangs is neither healthy nor ready.
    let status = match request.uri().path() {
        "/metrics" | "/healthz" | "/readyz" => orders.status().await,
        _ => return Ok(reply(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n".into())),
    };
    let Some(status) = status else {
        return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into()));
    };
    let waiting: Vec<&str> =
        status.pools.iter().filter(|pool| !pool.accepts).map(|pool| &pool.name[..]).collect();
    Ok(match request.uri().path() {
        "/metrics" => reply(StatusCode::OK, exposition::render(&status)),
        "/readyz" if !waiting.is_empty() => {
            reply(StatusCode::SERVICE_UNAVAILABLE, format!("not serving: {}\n", waiting.join(", ")))
        }
        _ => reply(StatusCode::OK, "ok\n".into()),
    })
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(TEXT_FORMAT));
    response
}
