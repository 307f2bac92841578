//! Sends the cases of HTTP/1 and judges the answers.

use crate::support::{DEADLINE, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// Section, what is wrong or odd, the bytes (see `Bench::bytes`), what has to come of it.
pub type Case = (&'static str, &'static str, &'static str, Expect);

#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// One answer with this status, not by the plugin, then the end of the connection.
    Rejected(u16),
    /// The end of the connection, with this status or without a word.
    Dropped(u16),
    /// One answer with this status, which the plugin may have given, then the end.
    Last(u16),
    /// Answered with 200 and this text in the body; the request that follows is answered too.
    Sound(&'static str),
}

use Expect::*;

pub struct Bench {
    server: Server,
    worker: u32,
}

impl Bench {
    pub fn start() -> Bench {
        Bench::of("fixture")
    }

    pub fn of(plugin: &str) -> Bench {
        let flags = ["--header-timeout", "500ms", "--request-timeout", "1s"];
        let limits = ["--max-header-size", "16K", "--max-body-size", "64K"];
        let server = Server::serving(plugin, &[flags, limits].concat());
        let worker = server.workers()[0];
        Bench { server, worker }
    }

    pub fn run(self, cases: &[Case]) {
        let mut wrong = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            if let Err(why) = self.judge(number, case) {
                let (section, what, ..) = case;
                wrong.push(format!("{section} {what}: {why}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        assert_eq!(self.server.workers(), [self.worker], "another worker serves");
        self.server.finish();
    }

    fn judge(&self, number: usize, (_, _, text, expect): &Case) -> Result<(), String> {
        let mut bytes = bytes(text, number);
        bytes.extend(bytes_of_next(number));
        let answers = self.exchange(&bytes, matches!(expect, Sound(_)))?;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.0).collect();
        let (first, next) = self.seen(number);
        let fits = match expect {
            Rejected(status) => statuses == [*status] && !first && !next,
            Dropped(status) => (statuses.is_empty() || statuses == [*status]) && !first && !next,
            Last(status) => statuses == [*status] && !next,
            Sound(body) => statuses == [200, 200] && answers[0].1.contains(body) && next,
        };
        match fits {
            true => Ok(()),
            false => Err(format!(
                "expected {expect:?}, got {answers:?}; the plugin saw it: {first}, the next: {next}"
            )),
        }
    }

    /// All answers until the other side closes; for two sound requests, this side ends it.
    fn exchange(&self, bytes: &[u8], sound: bool) -> Result<Vec<(u16, String)>, String> {
        let mut stream = TcpStream::connect(self.server.address()).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
        stream.set_write_timeout(Some(DEADLINE)).expect("set a time-out");
        // Who rejects early may close before all was sent.
        let _ = stream.write_all(bytes);
        let mut received = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            if sound && parse(&received)?.len() >= 2 {
                // Whatever else comes would be an answer to nothing.
                let _ = stream.shutdown(Shutdown::Write);
            }
            match stream.read(&mut buffer) {
                Ok(0) => return parse(&received),
                Ok(n) => received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return parse(&received);
                }
                Err(error) => return Err(format!("{error} after {:?}", lossy(&received))),
            }
        }
    }

    /// Whether the plugin was asked the case's request, and the one that rode on it. What it
    /// printed of a later request shows that all it printed before has come.
    fn seen(&self, number: usize) -> (bool, bool) {
        let response = self.server.get(&format!("/stderr?text=done-{number}."));
        assert_eq!(response.status(), 200, "the worker no longer serves");
        self.server.wait_line(&format!("done-{number}."));
        let seen = |what: &str| self.server.stderr.count(&format!("{what}-{number}.")) > 0;
        (seen("seen"), seen("next"))
    }
}

fn bytes_of_next(number: usize) -> Vec<u8> {
    format!("GET /stderr?text=next-{number}. HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes()
}

/// Characters up to U+00FF are one byte each. `{path}` is one that makes the plugin print,
/// `{get}` and `{post}` begin a request to it, `{headers}` and `{sink}` one that is answered with
/// its headers or the length of its body, `{x*N}` is N times the letter.
pub fn bytes(text: &str, number: usize) -> Vec<u8> {
    let head = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    let path = format!("/stderr?text=seen-{number}.");
    let mut text = text
        .replace("{get}", &head("GET", &path))
        .replace("{post}", &head("POST", &path))
        .replace("{headers}", &head("GET", "/headers"))
        .replace("{sink}", &head("POST", "/sink"))
        .replace("{path}", &path);
    while let Some((before, rest)) = text.split_once("{x*") {
        let (count, after) = rest.split_once('}').expect("an end of {x*N}");
        text = format!("{before}{}{after}", "x".repeat(count.parse().expect("a number")));
    }
    text.chars().map(|c| u8::try_from(c).expect("a byte")).collect()
}

/// Every answer in there: status and body. An answer that breaks off counts, too.
fn parse(mut rest: &[u8]) -> Result<Vec<(u16, String)>, String> {
    let mut answers = Vec::new();
    while let Some(end) = find(rest, b"\r\n\r\n") {
        let head = lossy(&rest[..end]).to_ascii_lowercase();
        rest = &rest[end + 4..];
        let status = head.strip_prefix("http/1.1 ").or_else(|| head.strip_prefix("http/1.0 "));
        let status = status.and_then(|words| words.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {head:?}"))?;
        if status == 100 {
            continue;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let (body, taken) = match length {
            Some(length) => {
                let length = length.parse::<usize>().map_err(|e| e.to_string())?.min(rest.len());
                (rest[..length].to_vec(), length)
            }
            None if head.contains("transfer-encoding: chunked") => unchunk(rest),
            None => (Vec::new(), 0),
        };
        answers.push((status, lossy(&body)));
        rest = &rest[taken..];
    }
    match rest.is_empty() || answers.is_empty() {
        true if !rest.is_empty() => Err(format!("no answer at all: {:?}", lossy(rest))),
        _ => Ok(answers),
    }
}

fn unchunk(all: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some(end) = find(&all[at..], b"\r\n") {
        let size = usize::from_str_radix(lossy(&all[at..at + end]).trim(), 16).unwrap_or(0);
        let start = at + end + 2;
        body.extend_from_slice(&all[start.min(all.len())..(start + size).min(all.len())]);
        at = (start + size + 2).min(all.len());
        if size == 0 {
            break;
        }
    }
    (body, at)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
