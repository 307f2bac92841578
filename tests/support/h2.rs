//! HTTP/2 in clear text, with prior knowledge.

use super::DEADLINE;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use std::net::SocketAddr;

pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

/// Sends one request, its body in pieces, and reads the whole response meanwhile.
pub fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
) -> Response {
    let uri = format!("http://{address}{path}");
    let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let work = exchange_on(address, request, body, trailers);
        let done = tokio::time::timeout(DEADLINE, work).await;
        done.expect("an answer in time").expect("a whole HTTP/2 exchange")
    })
}

/// Sends one request, runs `meanwhile`, and reads the response; then the server has to end the
/// connection, in order: this side keeps it open.
pub fn held<T: Send + 'static>(
    address: SocketAddr,
    path: &str,
    meanwhile: impl FnOnce() -> T + Send + 'static,
) -> (StatusCode, T) {
    let uri = format!("http://{address}{path}");
    let request = Request::builder().uri(uri).body(()).expect("a request");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("connect");
        let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
        let driver = tokio::spawn(connection);
        let mut client = client.ready().await.expect("room for a request");
        let (response, _) = client.send_request(request, true).expect("send the request");
        let done = tokio::task::spawn_blocking(meanwhile);
        let status = response.await.expect("an answer").status();
        let done = done.await.expect("what goes on meanwhile");
        let ended = tokio::time::timeout(DEADLINE, driver).await.expect("an end in time");
        ended.expect("the driver").expect("GOAWAY without an error");
        drop(client);
        (status, done)
    })
}

async fn exchange_on(
    address: SocketAddr,
    request: Request<()>,
    body: Vec<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<Response, h2::Error> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connect");
    let (client, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await?;
    let bodiless = body.is_empty() && trailers.is_none();
    let (response, mut sender) = client.send_request(request, bodiless)?;
    let sending = async {
        for piece in body {
            send(&mut sender, piece).await?;
        }
        match trailers {
            Some(trailers) => sender.send_trailers(trailers),
            None if bodiless => Ok(()),
            None => sender.send_data(Bytes::new(), true),
        }
    };
    let receiving = async {
        let response = response.await?;
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece?;
            incoming.flow_control().release_capacity(piece.len())?;
            body.extend_from_slice(&piece);
        }
        let trailers = incoming.trailers().await?;
        Ok(Response { status: head.status, headers: head.headers, body, trailers })
    };
    let (_, response) = tokio::try_join!(sending, receiving)?;
    driver.abort();
    Ok(response)
}

/// Keeps to the window the other side grants.
async fn send(sender: &mut h2::SendStream<Bytes>, mut piece: Bytes) -> Result<(), h2::Error> {
    while !piece.is_empty() {
        sender.reserve_capacity(piece.len());
        let granted = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await;
        let granted = granted.expect("the stream is open")?;
        sender.send_data(piece.split_to(granted.min(piece.len())), false)?;
    }
    Ok(())
}
