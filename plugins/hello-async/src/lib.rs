//! The smallest useful plugin for wasi:http 0.3: every request gets `hello world`.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

const GREETING: &[u8] = b"hello world\n";

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::from_list(&[
            ("content-type".into(), b"text/plain".into()),
            ("content-length".into(), GREETING.len().to_string().into()),
        ])
        .expect("both headers are well-formed");
        let (mut body, stream) = wit_stream::new();
        // Dropping the writing end says that there are no trailers.
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(stream), trailers);
        // The host reads the body only after it has the response.
        spawn_local(async move {
            body.write_all(GREETING.to_vec()).await;
        });
        Ok(response)
    }
}

wasip3::http::service::export!(Hello);
