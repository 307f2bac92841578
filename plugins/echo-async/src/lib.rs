//! Streams each request's body back, then its trailers (wasi:http 0.3). The request's own stream and
//! trailers become the response's: the host moves the bytes and this plugin never sees them.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_future;

struct Echo;

impl wasip3::exports::http::handler::Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let headers = same_type(&request.get_headers());
        // Dropping the writing end says that this side had no trouble with the body.
        let (_, taken) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, taken);
        let (response, _sent) = Response::new(headers, Some(body), trailers);
        Ok(response)
    }
}

fn same_type(request: &Fields) -> Fields {
    let reply = Fields::new();
    let values = request.get("content-type");
    if !values.is_empty() {
        reply
            .set("content-type", &values)
            .expect("the value came from a request");
    }
    reply
}

wasip3::http::service::export!(Echo);
