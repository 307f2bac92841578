//! HTTP as WASI 0.2 has it: conversion between its resources and the types of the `http` crate.

use std::future::Future;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header::CONTENT_LENGTH, uri::PathAndQuery,
};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
    Scheme,
};

use crate::{Body, IntoResponse, Request, Response, Result, io::Output, task};

/// Serves one request: what `#[host::http]` exports.
pub fn serve<R, F>(
    request: IncomingRequest,
    out: ResponseOutparam,
    handler: impl FnOnce(Request) -> F + 'static,
) where
    R: IntoResponse,
    F: Future<Output = R> + 'static,
{
    task::block_on(async move {
        let response = match read(request) {
            Ok(request) => handler(request).await.into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        };
        if let Err(error) = write(response, out).await {
            eprintln!("response: {error}");
        }
    });
}

fn read(incoming: IncomingRequest) -> Result<Request> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method(incoming.method())?;
    *request.uri_mut() = uri(&incoming)?;
    *request.headers_mut() = headers(incoming.headers().entries())?;
    let body = incoming.consume().map_err(|()| "the request's body was taken before")?;
    *request.body_mut() = Body::incoming(body)?;
    Ok(request)
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

fn uri(incoming: &IncomingRequest) -> Result<Uri> {
    let path = incoming.path_with_query().unwrap_or_else(|| "/".into());
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    if let (Some(scheme), Some(authority)) = (incoming.scheme(), incoming.authority()) {
        parts.authority = Some(authority.try_into()?);
        parts.scheme = Some(match scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
            Scheme::Other(name) => name.as_str().try_into()?,
        });
    }
    Ok(Uri::from_parts(parts)?)
}

fn headers(entries: Vec<(String, Vec<u8>)>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(entries.len());
    for (name, value) in entries {
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_maybe_shared(bytes::Bytes::from(value))?,
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
    // Any number that `StatusCode` holds is a valid status.
    let _ = head.set_status_code(parts.status.as_u16());
    let sink = head.body().map_err(|()| "the response's body was taken before")?;
    ResponseOutparam::set(out, Ok(head));

    copy(&mut body, &sink).await?;
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
async fn copy(body: &mut Body, sink: &OutgoingBody) -> Result<()> {
    let mut output =
        Output::new(sink.write().map_err(|()| "the response's stream was taken before")?);
    while let Some(chunk) = body.chunk().await? {
        output.write_all(&chunk).await?;
    }
    Ok(())
}
