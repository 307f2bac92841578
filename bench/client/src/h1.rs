//! HTTP/1.1 by hand, because a library would retry or hide exactly what is counted here.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::control::{REFUSED_PAUSE, REQUEST_DEADLINE, Run};
use crate::stats::Fault;

/// No answer in a benchmark is larger.
const MAX_ANSWER: usize = 16 << 20;

struct Answer {
    status: u16,
    body: Vec<u8>,
    close: bool,
}

pub async fn keep_alive(run: Run) {
    let mut open: Option<TcpStream> = None;
    let mut buffer = Vec::with_capacity(4096);
    while run.stats.borrow_mut().take_request() {
        if open.as_ref().is_some_and(closed_by_server) {
            run.stats.borrow_mut().keepalive_closed_silently += 1;
            open = None;
        }
        if open.is_none() {
            open = connect(&run).await;
        }
        let Some(stream) = &mut open else { continue };
        buffer.clear();
        match exchange(&run, stream, &mut buffer, "").await {
            Some(answer) if answer.close => {
                run.stats.borrow_mut().keepalive_close_announced += 1;
                open = None;
            }
            Some(_) => {}
            None => open = None,
        }
        pause(&run, open.as_ref()).await;
    }
}

pub async fn one_request_each(run: Run) {
    let mut buffer = Vec::with_capacity(4096);
    while run.stats.borrow_mut().take_request() {
        let Some(mut stream) = connect(&run).await else { continue };
        buffer.clear();
        exchange(&run, &mut stream, &mut buffer, "Connection: close\r\n").await;
        drop(stream);
        pause(&run, None).await;
    }
}

async fn connect(run: &Run) -> Option<TcpStream> {
    match timeout(REQUEST_DEADLINE, TcpStream::connect(run.options.addr)).await {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).ok();
            run.stats.borrow_mut().connections_opened += 1;
            Some(stream)
        }
        _ => {
            run.stats.borrow_mut().fault(Fault::Refused);
            sleep(REFUSED_PAUSE).await;
            None
        }
    }
}

/// The server's close may arrive while the connection pauses: seen there it costs no request.
async fn pause(run: &Run, stream: Option<&TcpStream>) {
    let Some(interval) = run.options.interval() else { return };
    match stream {
        Some(stream) => {
            tokio::select! {
                _ = sleep(interval) => {}
                _ = stream.readable() => sleep(interval).await,
            }
        }
        None => sleep(interval).await,
    }
}

fn closed_by_server(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Err(error) => error.kind() != ErrorKind::WouldBlock,
        Ok(_) => true,
    }
}

/// One request and its checked answer; a fault is counted and gives none.
async fn exchange(
    run: &Run,
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    header: &str,
) -> Option<Answer> {
    let allowed = run.stats.borrow().allow.clone();
    let (path, addr) = (&run.options.path, run.options.addr);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n{header}\r\n");
    let begun = Instant::now();
    let outcome = timeout(REQUEST_DEADLINE, async {
        stream.write_all(request.as_bytes()).await.map_err(|_| Fault::ClosedUnanswered)?;
        read_answer(stream, buffer).await
    });
    let outcome = outcome.await.unwrap_or(Err(Fault::Timeout));
    let latency: Duration = begun.elapsed();
    let mut stats = run.stats.borrow_mut();
    match outcome {
        Ok(answer) => {
            stats.answer(answer.status, &answer.body, &allowed, latency);
            Some(answer)
        }
        Err(fault) => {
            stats.fault(fault);
            None
        }
    }
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Answer, Fault> {
    loop {
        if let Some(answer) = parse(buffer)? {
            return Ok(answer);
        }
        let read = stream.read_buf(buffer).await.unwrap_or(0);
        if read == 0 {
            let nothing = buffer.is_empty();
            return Err(if nothing { Fault::ClosedUnanswered } else { Fault::ClosedMidAnswer });
        }
        if buffer.len() > MAX_ANSWER {
            return Err(Fault::Malformed);
        }
    }
}

/// The answer if `bytes` hold all of it.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).map_err(|_| Fault::Malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let rest = &bytes[head..];
    let body = if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        match dechunk(rest)? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else {
        let length: usize = value("content-length")
            .and_then(|length| length.parse().ok())
            .ok_or(Fault::Malformed)?;
        match rest.get(..length) {
            Some(body) if rest.len() == length => body.to_vec(),
            Some(_) => return Err(Fault::Malformed),
            None => return Ok(None),
        }
    };
    let status = response.code.unwrap_or(0);
    Ok(Some(Answer { status, body, close: value("connection").is_some_and(|v| v == "close") }))
}

fn dechunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(rest).map_err(|_| Fault::Malformed)? {
            httparse::Status::Complete((start, size)) => (start, size as usize),
            httparse::Status::Partial => return Ok(None),
        };
        if size > MAX_ANSWER {
            return Err(Fault::Malformed);
        }
        if size == 0 {
            let end = &rest[start..];
            let complete = end.starts_with(b"\r\n") || end.ends_with(b"\r\n\r\n");
            return Ok(complete.then_some(body));
        }
        let Some(chunk) = rest.get(start..start + size + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[start + size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8]) -> Option<Vec<u8>> {
        parse(bytes).ok().flatten().map(|answer| answer.body)
    }

    #[test]
    fn both_framings_are_complete_exactly_at_their_last_byte() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".as_slice();
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            .as_slice();
        for whole in [plain, chunked] {
            assert_eq!(body(whole).unwrap(), b"hello");
            assert!((0..whole.len()).all(|cut| body(&whole[..cut]).is_none()));
        }
    }
}
