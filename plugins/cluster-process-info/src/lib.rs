//! Shows everything `host::process` knows, as JSON at `/`; `PUT /title/<text>` changes the title.

use host::{Params, Request, Response, Router, http::Method, process};

#[host::http]
async fn routes(request: Request) -> Response {
    Router::new()
        .get("/", async |_, _| serde_json::to_string_pretty(&process::info()))
        .route(Method::PUT, "/title/:text", set_title)
        .handle(request)
        .await
}

async fn set_title(_request: Request, params: Params) -> host::Result<()> {
    Ok(process::set_title(params.get("text"))?)
}
