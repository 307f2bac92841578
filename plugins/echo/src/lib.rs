//! Streams each request's body back, then its trailers (wasi:http 0.2). The bytes go from stream to
//! stream inside the host and never enter this plugin's memory, so a body of any size needs the same.

use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse,
    ResponseOutparam, Trailers, http_error_code,
};
use wasip2::io::streams::StreamError;

/// The most that one splice asks for; the host may move less.
const PIECE: u64 = 64 * 1024;

struct Echo;

impl wasip2::exports::http::incoming_handler::Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let headers = reply_headers(&request.headers());
        let from = request.consume().expect("the request body is taken once");
        let response = OutgoingResponse::new(headers);
        let to = response.body().expect("the response body is taken once");
        ResponseOutparam::set(out, Ok(response));
        // On an error `to` is dropped unfinished: the host then breaks the response off, and the
        // client sees that it is incomplete.
        if let Ok(trailers) = pump(from, &to) {
            let _ = OutgoingBody::finish(to, trailers);
        }
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

/// Moves the whole body and returns its trailers.
fn pump(from: IncomingBody, to: &OutgoingBody) -> Result<Option<Trailers>, ErrorCode> {
    let input = from.stream().expect("the request stream is taken once");
    let output = to.write().expect("the response stream is taken once");
    loop {
        match output.blocking_splice(&input, PIECE) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(cause)) => {
                return Err(http_error_code(&cause).unwrap_or(ErrorCode::InternalError(None)));
            }
        }
    }
    drop((input, output));
    let trailers = IncomingBody::finish(from);
    trailers.subscribe().block();
    trailers.get().expect("the trailers have arrived").expect("they are taken once")
}

wasip2::http::proxy::export!(Echo);
