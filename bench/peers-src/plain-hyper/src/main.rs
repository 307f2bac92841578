//! The ceiling for a worker: hyper on one current-thread runtime answers a fixed text, no plugin.
//! Prints the ready line the harness waits for. Trusts its one user.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::LocalSet};

#[path = "../../../../host/src/sys/alloc.rs"]
mod alloc;

#[global_allocator]
static ALLOCATOR: alloc::MiMalloc = alloc::MiMalloc;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, serve(&address))
}

async fn serve(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    eprintln!("plain-hyper: serving http://{}", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).ok();
        let answer = service_fn(|_| async {
            let mut response = Response::new(Full::new(Bytes::from_static(b"hello world\n")));
            response.headers_mut().insert("content-type", "text/plain".parse().unwrap());
            Ok::<_, Infallible>(response)
        });
        tokio::task::spawn_local(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            connection.await.ok();
        });
    }
}
