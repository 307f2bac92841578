//! What the SDK offers an HTTP plugin: routes, parameters, JSON, streams in both directions, values that a reused
//! instance keeps.

use std::time::Duration;

use host::{
    Body, IntoResponse, Json, Local, Params, Request, Response, Result, Router,
    http::{Method, StatusCode},
    task,
};
use serde::{Deserialize, Serialize};

static CALLS: Local<u64> = Local::new(|| 0);

#[host::http]
async fn routes(request: Request) -> Response {
    Router::new()
        .get("/", async |_, _| "hello world\n")
        .get("/hello/:name", async |_, params: Params| format!("hello {}\n", params.get("name")))
        .post("/echo", async |request: Request, _| request.into_body())
        .post("/length", length)
        .post("/sum", sum)
        .get("/ticks/:count", ticks)
        .get("/calls", async |_, _| {
            CALLS.with(|calls| {
                *calls += 1;
                calls.to_string()
            })
        })
        .get("/error", async |_, _| -> Result<String> { Err("as asked for".into()) })
        .get("/break", async |_, _| {
            Body::stream(async |mut out| {
                out.send("half of it").await;
                Err("as asked for".into())
            })
        })
        .route(Method::DELETE, "/files/*path", async |_, params: Params| {
            (StatusCode::ACCEPTED, format!("{}\n", params.get("path")))
        })
        .handle(request)
        .await
}

/// Counts without holding more than a piece.
async fn length(request: Request, _: Params) -> Result<String> {
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(chunk) = body.chunk().await? {
        length += chunk.len();
    }
    Ok(format!("{length}\n"))
}

#[derive(Deserialize)]
struct Terms {
    a: f64,
    b: f64,
}

#[derive(Serialize)]
struct Sum {
    sum: f64,
}

async fn sum(request: Request, _: Params) -> Response {
    match request.into_body().json::<Terms>().await {
        Ok(terms) => Json(Sum { sum: terms.a + terms.b }).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn ticks(_: Request, params: Params) -> Body {
    let count: u32 = params.get("count").parse().unwrap_or(3);
    Body::stream(async move |mut out| {
        for n in 1..=count {
            task::sleep(Duration::from_millis(10)).await;
            out.send(format!("tick {n}\n")).await;
        }
        Ok(())
    })
}
