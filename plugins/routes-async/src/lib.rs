//! The same for WASI 0.3: one instance serves many requests at a time.

use host::{Local, Params, Request, Response, Router};

static CALLS: Local<u64> = Local::new(|| 0);

#[host::http(p3)]
async fn routes(request: Request) -> Response {
    Router::new()
        .get("/", async |_, _| "hello world\n")
        .get("/hello/:name", async |_, params: Params| format!("hello {}\n", params.get("name")))
        .post("/echo", async |request: Request, _| request.into_body())
        .get("/calls", async |_, _| {
            CALLS.with(|calls| {
                *calls += 1;
                calls.to_string()
            })
        })
        .handle(request)
        .await
}
