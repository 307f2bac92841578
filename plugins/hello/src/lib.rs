//! The smallest useful plugin for wasi:http 0.2: every request gets `hello world`.
//! The whole response is ready before it is handed over, so the host can send it in one piece.

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

const GREETING: &[u8] = b"hello world\n";

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::from_list(&[
            ("content-type".into(), b"text/plain".into()),
            ("content-length".into(), GREETING.len().to_string().into()),
        ])
        .expect("both headers are well-formed");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is taken once");
        let stream = body.write().expect("the stream is taken once");
        // A fresh body always has room for a few bytes, so neither call waits.
        stream.check_write().expect("a fresh body is open");
        stream.write(GREETING).expect("a fresh body has room");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body is as long as promised");
        ResponseOutparam::set(out, Ok(response));
    }
}

wasip2::http::proxy::export!(Hello);
