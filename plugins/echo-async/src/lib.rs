//! Streams each request's body back, then its trailers (wasi:http 0.3). The request's own stream and
//! trailers become the response's: the host moves the bytes and this plugin never sees them.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_future;

struct Echo;

impl wasip3::exports::http::handler::Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let headers = reply_headers(&request.get_headers());
        // Dropping the writing end says that this side had no trouble with the body.
        let (_, taken) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, taken);
        let (response, _sent) = Response::new(headers, Some(body), trailers);
        Ok(response)
    }
}

/// The body's type, and the names of the trailers that follow it.
fn reply_headers(request: &Fields) -> Fields {
    let reply = Fields::new();
    for name in ["content-type", "trailer"] {
        let values = request.get(name);
        if !values.is_empty() {
            reply.set(name, &values).expect("the value came from a request");
        }
    }
    reply
}

wasip3::http::service::export!(Echo);
