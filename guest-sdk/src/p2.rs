//! HTTP as WASI 0.2 has it: conversion between its resources and the types of the `http` crate.

use std::{
    future::Future,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    header::{CONTENT_LENGTH, HOST},
};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse,
    ResponseOutparam,
};

use crate::{
    Body, Error, IntoResponse, Request, Response, Result,
    body::Source,
    io::{Input, Output},
    task,
};

/// Serves one request: what `#[host::http]` exports.
pub fn serve<R, F>(
    request: IncomingRequest,
    out: ResponseOutparam,
    handler: impl FnOnce(Request) -> F,
) where
    R: IntoResponse,
    F: Future<Output = R>,
{
    answer(out, async move {
        match read(request) {
            Ok(request) => handler(request).await.into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    });
}

/// The same for a handler that does not look at the request.
pub fn serve_bare<R, F>(
    request: IncomingRequest,
    out: ResponseOutparam,
    handler: impl FnOnce() -> F,
) where
    R: IntoResponse,
    F: Future<Output = R>,
{
    answer(out, async move {
        let response = handler().await.into_response();
        drop(request);
        response
    });
}

fn answer(out: ResponseOutparam, response: impl Future<Output = Response>) {
    task::block_on(async move {
        if let Err(error) = write(response.await, out).await {
            eprintln!("response: {error}");
        }
    });
}

/// Every question to the host costs; so the body is asked for when it is read, and the authority when there is no
/// `host` header that says it.
fn read(incoming: IncomingRequest) -> Result<Request> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method(incoming.method())?;
    *request.uri_mut() = match incoming.path_with_query() {
        Some(path) => Uri::try_from(path)?,
        None => Uri::from_static("/"),
    };
    *request.headers_mut() = headers(incoming.headers().entries())?;
    if !request.headers().contains_key(HOST)
        && let Some(authority) = incoming.authority()
    {
        request.headers_mut().insert(HOST, HeaderValue::try_from(authority)?);
    }
    *request.body_mut() = Body::from_source(Incoming::Whole(incoming));
    Ok(request)
}

/// The body of a request, before and while it is read.
enum Incoming {
    Whole(IncomingRequest),
    /// The stream stands before the body it belongs to, to be dropped first.
    Reading(Input, #[expect(dead_code, reason = "keeps the stream alive")] IncomingBody),
}

impl Incoming {
    fn input(&mut self) -> Result<&mut Input> {
        if let Self::Whole(request) = self {
            let body = request.consume().map_err(|()| "the request's body was taken before")?;
            let stream = body.stream().map_err(|()| "the request's body was taken before")?;
            *self = Self::Reading(Input::new(stream), body);
        }
        match self {
            Self::Reading(input, _) => Ok(input),
            Self::Whole(_) => unreachable!("it was turned into a stream above"),
        }
    }
}

impl Source for Incoming {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match self.input() {
            Ok(input) => input.poll_chunk(context).map_err(Error::from),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

fn method(method: Method) -> Result<http::Method> {
    Ok(match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
        Method::Connect => http::Method::CONNECT,
        Method::Options => http::Method::OPTIONS,
        Method::Trace => http::Method::TRACE,
        Method::Patch => http::Method::PATCH,
        Method::Other(name) => http::Method::from_bytes(name.as_bytes())?,
    })
}

fn headers(entries: Vec<(String, Vec<u8>)>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(entries.len());
    for (name, value) in entries {
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_maybe_shared(Bytes::from(value))?,
        );
    }
    Ok(headers)
}

async fn write(response: Response, out: ResponseOutparam) -> Result<()> {
    let (mut parts, mut body) = response.into_parts();
    if let Some(bytes) = body.as_full() {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| bytes.len().into());
    }
    let head = match fields(&parts.headers) {
        Ok(fields) => OutgoingResponse::new(fields),
        Err(error) => {
            let code = ErrorCode::InternalError(Some(error.to_string()));
            ResponseOutparam::set(out, Err(code));
            return Err(error);
        }
    };
    if parts.status != StatusCode::OK {
        // Any number that `StatusCode` holds is a valid status.
        let _ = head.set_status_code(parts.status.as_u16());
    }
    let sink = head.body().map_err(|()| "the response's body was taken before")?;
    let stream = sink.write().map_err(|()| "the response's stream was taken before")?;
    if let Some(bytes) = body.as_full()
        && stream.check_write().is_ok_and(|room| room >= bytes.len() as u64)
    {
        // The whole response is there before it is handed over, and goes out in one piece.
        stream.write(bytes)?;
        drop(stream);
        OutgoingBody::finish(sink, None)?;
        ResponseOutparam::set(out, Ok(head));
        return Ok(());
    }
    ResponseOutparam::set(out, Ok(head));
    copy(&mut body, Output::new(stream)).await?;
    OutgoingBody::finish(sink, None)?;
    Ok(())
}

fn fields(headers: &HeaderMap) -> Result<Fields> {
    let list: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    Ok(Fields::from_list(&list)?)
}

/// Sends the body in pieces as they come. The body's sink is finished by who made it, so that an error leaves the
/// response visibly incomplete.
async fn copy(body: &mut Body, mut output: Output) -> Result<()> {
    while let Some(chunk) = body.chunk().await? {
        output.write_all(&chunk).await?;
    }
    Ok(())
}
