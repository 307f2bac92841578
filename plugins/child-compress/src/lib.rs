//! Compresses what it is sent, of any size, in the program granted as `squeeze`: the WebAssembly one beside this
//! (`--program squeeze=squeeze.wasm`) or the system's (`--program squeeze=/usr/bin/gzip`). Neither end holds more
//! than a few pieces of it.

use host::{
    Body, Request, Response,
    child::{Command, Stdio},
    http::header::{CONTENT_TYPE, HeaderValue},
    task,
};

#[host::http]
async fn compress(request: Request) -> host::Result<Response> {
    let mut child = Command::new("squeeze").stderr(Stdio::Inherit).spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut body = request.into_body();
    task::spawn(async move {
        let Some(mut stdin) = stdin else { return };
        while let Ok(Some(bytes)) = body.chunk().await {
            if stdin.write_all_async(&bytes).await.is_err() {
                return;
            }
        }
    });
    let body = stdout.map_or(Body::empty(), Body::from);
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    Ok(response)
}
