//! Answers every request.

#[host::http]
fn app(request: host::Request) -> String {
    format!("hello from {{name}}, {}\n", request.uri().path())
}
