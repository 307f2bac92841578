//! HTTP/2 with prior knowledge, one request at a time on each connection. A request the server had
//! not begun when it said GOAWAY is sent again on a new connection, as RFC 9113 wants it.

use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::control::{REFUSED_PAUSE, REQUEST_DEADLINE, Run};
use crate::stats::Fault;

type Sender = SendRequest<Empty<Bytes>>;

#[derive(Clone)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move { drop(task.await) });
    }
}

pub async fn requests(run: Run) {
    let mut open: Option<Sender> = None;
    while run.stats.borrow_mut().take_request() {
        // Repeats until the server has taken the request or failed it.
        while !attempt(&run, &mut open).await {}
        if let Some(interval) = run.options.interval() {
            sleep(interval).await;
        }
    }
}

/// False when the request must be sent again because the server had not begun it.
async fn attempt(run: &Run, open: &mut Option<Sender>) -> bool {
    if open.as_ref().is_some_and(|sender| sender.is_closed()) {
        run.stats.borrow_mut().h2_goaways += 1;
        *open = None;
    }
    if open.is_none() {
        *open = connect(run).await;
    }
    let Some(sender) = open else { return true };
    let allowed = run.stats.borrow().allow.clone();
    let uri = format!("http://{}{}", run.options.h2_addr, run.options.path);
    let request = Request::get(uri).body(Empty::new()).expect("a checked path");
    let begun = Instant::now();
    let outcome = timeout(REQUEST_DEADLINE, async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
    });
    match outcome.await {
        Ok(Ok((status, body))) => {
            run.stats.borrow_mut().answer(status, &body, &allowed, begun.elapsed());
        }
        Ok(Err(error)) if error.is_canceled() || unprocessed(&error) => {
            run.stats.borrow_mut().h2_goaways += 1;
            *open = None;
            return false;
        }
        Ok(Err(_)) => {
            run.stats.borrow_mut().fault(Fault::ClosedUnanswered);
            *open = None;
        }
        Err(_) => {
            run.stats.borrow_mut().fault(Fault::Timeout);
            *open = None;
        }
    }
    true
}

/// NO_ERROR on a stream that got no answer is how a server refuses it while going away.
fn unprocessed(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains("refused stream") || text.contains("not a result of an error") {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn connect(run: &Run) -> Option<Sender> {
    let stream = timeout(REQUEST_DEADLINE, TcpStream::connect(run.options.h2_addr)).await;
    let Ok(Ok(stream)) = stream else {
        run.stats.borrow_mut().fault(Fault::Refused);
        sleep(REFUSED_PAUSE).await;
        return None;
    };
    stream.set_nodelay(true).ok();
    match http2::handshake(LocalExecutor, TokioIo::new(stream)).await {
        Ok((sender, connection)) => {
            tokio::task::spawn_local(async move { drop(connection.await) });
            run.stats.borrow_mut().connections_opened += 1;
            Some(sender)
        }
        Err(_) => {
            run.stats.borrow_mut().fault(Fault::ClosedUnanswered);
            None
        }
    }
}
