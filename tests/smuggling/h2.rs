//! Sends the cases of HTTP/2, frame by frame: a client library would refuse to.

use crate::support::{DEADLINE, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// Section of RFC 9113, what is wrong, the frames after the preface, what has to come of it.
pub type Case = (&'static str, &'static str, &'static [Frame], Expect);
pub type Field = (&'static str, &'static str);

pub enum Frame {
    /// A whole block of fields; `{path}` in a value makes the plugin print. The flag ends the stream.
    Fields(u32, &'static [Field], bool),
    Data(u32, &'static str, bool),
    /// Type, flags, stream, payload.
    Raw(u8, u8, u32, &'static [u8]),
    /// The same, with that many bytes of no meaning.
    Filled(u8, u8, u32, usize),
    /// That many fields of 1,000 bytes.
    ManyFields(u32, usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Expect {
    Answers(u16),
    /// Reset, connection error, end or a 4xx or 501; the plugin never hears of it.
    Refused,
    /// The same, but the plugin may have been called before it showed.
    Fails,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Answer(u16),
    Reset,
    GoneAway,
    Closed,
    /// The request that followed was answered as if nothing had happened.
    Ignored,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// A sound request on a stream that no case uses.
const LATER: u32 = 9;
const NEXT: &[Field] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")];

pub fn run(cases: &[Case]) {
    let flags = ["--header-timeout", "500ms", "--request-timeout", "1s"];
    let server = Server::serving("fixture", &[&flags[..], &["--max-header-size", "16K"]].concat());
    let worker = server.workers();
    let mut wrong = Vec::new();
    for (number, (section, what, frames, expect)) in cases.iter().enumerate() {
        let outcome = exchange(&server, frames, number, matches!(expect, Expect::Refused));
        let seen = seen(&server, number);
        let refused = match outcome {
            Outcome::Answer(status) => (400..500).contains(&status) || status == 501,
            Outcome::Ignored => false,
            Outcome::Reset | Outcome::GoneAway | Outcome::Closed => true,
        };
        let fits = match expect {
            Expect::Answers(status) => outcome == Outcome::Answer(*status),
            Expect::Refused => refused && !seen,
            Expect::Fails => refused,
        };
        if !fits {
            wrong.push(format!(
                "{section} {what}: expected {expect:?}, got {outcome:?}; the plugin saw it: {seen}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(server.workers(), worker, "another worker serves");
    server.finish();
}

fn seen(server: &Server, number: usize) -> bool {
    assert_eq!(server.get(&format!("/stderr?text=done-{number}.")).status(), 200);
    server.wait_line(&format!("done-{number}."));
    server.stderr.count(&format!("seen-{number}.")) > 0
}

fn exchange(server: &Server, frames: &[Frame], number: usize, followed: bool) -> Outcome {
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
    stream.set_write_timeout(Some(DEADLINE)).expect("set a time-out");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    frames.iter().for_each(|one| bytes.extend(encode(one, number)));
    if followed {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, LATER, &block(NEXT, number)));
    }
    // Who refuses early may close before all was sent.
    let _ = stream.write_all(&bytes);
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(outcome) = judge(&received) {
            return outcome;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Outcome::Closed,
            Ok(n) => received.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Outcome::Closed,
            Err(error) => panic!("case {number}: {error} after {received:?}"),
        }
    }
}

/// What has become of stream 1, or of the connection.
fn judge(mut rest: &[u8]) -> Option<Outcome> {
    while let Some((head, after)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, next) = after.split_at_checked(length)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], stream) {
            (HEADERS, 1) => return Some(Outcome::Answer(status(payload))),
            (HEADERS, LATER) => return Some(Outcome::Ignored),
            (RST_STREAM, 1) => return Some(Outcome::Reset),
            // Without an error it only says that the end is near.
            (GOAWAY, 0) if payload[4..8] != [0; 4] => return Some(Outcome::GoneAway),
            _ => rest = next,
        }
    }
    None
}

fn encode(what: &Frame, number: usize) -> Vec<u8> {
    let end = |ends: &bool| if *ends { END_STREAM } else { 0 };
    match what {
        Frame::Fields(stream, fields, ends) => {
            frame(HEADERS, END_HEADERS | end(ends), *stream, &block(fields, number))
        }
        Frame::Data(stream, text, ends) => frame(DATA, end(ends), *stream, text.as_bytes()),
        Frame::Raw(kind, flags, stream, payload) => frame(*kind, *flags, *stream, payload),
        Frame::Filled(kind, flags, stream, length) => {
            frame(*kind, *flags, *stream, &vec![0; *length])
        }
        Frame::ManyFields(stream, count) => {
            let mut all = block(super::h2_cases::GET, number);
            let value = "x".repeat(1000);
            (0..*count).for_each(|_| literal(&mut all, "x", &value));
            split(*stream, &all)
        }
    }
}

/// A block that needs more than one frame.
fn split(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(16_384).peekable();
    let mut bytes = Vec::new();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let ends = if kind == HEADERS { END_STREAM } else { 0 };
        bytes.extend(frame(kind, last | ends, stream, piece));
        kind = 9;
    }
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HPACK in its plainest form: every field a literal that is not indexed.
fn block(fields: &[Field], number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        let value = value.replace("{path}", &format!("/stderr?text=seen-{number}."));
        literal(&mut bytes, name, &value);
    }
    bytes
}

fn literal(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.push(0);
    for text in [name, value] {
        let mut length = text.len();
        match length {
            0..127 => bytes.push(length as u8),
            _ => {
                bytes.push(127);
                length -= 127;
                while length >= 128 {
                    bytes.push((length % 128) as u8 | 128);
                    length /= 128;
                }
                bytes.push(length as u8);
            }
        }
        bytes.extend(text.as_bytes());
    }
}

/// The first field of an answer is its status: in the static table, or three digits.
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [index @ 0x88..=0x8e, ..] => KNOWN[usize::from(index - 0x88)],
        [_, length, text @ ..] if length & 0x80 == 0 => {
            String::from_utf8_lossy(&text[..usize::from(*length)]).parse().expect("digits")
        }
        [_, _, text @ ..] => huffman_digits(text),
        _ => panic!("an answer without fields"),
    }
}

/// `0`, `1` and `2` have five bits, `3` to `9` six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)))
        .collect();
    let number = |bits: &[u16]| bits.iter().fold(0, |sum, bit| sum * 2 + bit);
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let (digit, width) = match number(&bits[at..at + 5]) {
            short @ 0..=2 => (short, 5),
            _ => (number(&bits[at..at + 6]) - 0b011001 + 3, 6),
        };
        status = status * 10 + digit;
        at += width;
    }
    status
}
