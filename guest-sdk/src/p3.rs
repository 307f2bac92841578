//! HTTP as WASI 0.3 has it, where `async` is the component model's own.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body as _;
use wasip3::{
    http::types::{ErrorCode, Request as WasiRequest, Response as WasiResponse},
    http_compat::{IncomingRequestBody, http_from_wasi_request, http_into_wasi_response},
};

use crate::{Body, Error, IntoResponse, Request, Result, body::Source};

/// Serves one request: what `#[host::http(p3)]` exports.
pub async fn serve<R, F>(
    request: WasiRequest,
    handler: impl FnOnce(Request) -> F,
) -> Result<WasiResponse, ErrorCode>
where
    R: IntoResponse,
    F: Future<Output = R>,
{
    let request = http_from_wasi_request(request)?.map(Body::from_source);
    http_into_wasi_response(handler(request).await.into_response())
}

/// The same for a handler that does not look at the request.
pub async fn serve_bare<R, F>(
    _request: WasiRequest,
    handler: impl FnOnce() -> F,
) -> Result<WasiResponse, ErrorCode>
where
    R: IntoResponse,
    F: Future<Output = R>,
{
    http_into_wasi_response(handler().await.into_response())
}

impl Source for IncomingRequestBody {
    /// Trailers are passed over.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut *self).poll_frame(context)) {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(Error::from(format!("{error:?}")))),
                Some(Ok(frame)) => frame,
            };
            if let Ok(bytes) = frame.into_data()
                && !bytes.is_empty()
            {
                return Poll::Ready(Ok(Some(bytes)));
            }
        }
    }
}
