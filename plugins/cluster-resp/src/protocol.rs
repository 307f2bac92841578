//! The Redis serialization protocol, version 2 (redis.io, "Redis serialization protocol specification").

/// Most arguments of one command.
const MAX_ARGUMENTS: usize = 1024;
/// Longest argument, and longest inline command, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// What the bytes so far hold.
pub enum Parsed {
    Command(Vec<Vec<u8>>),
    /// More bytes are needed.
    Incomplete,
    /// Nothing after this can be understood.
    Invalid(&'static str),
}

/// Bytes of a client, cut into commands.
#[derive(Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// Where the next command starts.
    at: usize,
}

type Step<T> = Result<T, Parsed>;

impl Parser {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    pub fn next(&mut self) -> Parsed {
        loop {
            let mut cursor = Cursor { bytes: &self.bytes, at: self.at };
            match cursor.command() {
                Ok(arguments) => {
                    self.at = cursor.at;
                    if !arguments.is_empty() {
                        return Parsed::Command(arguments);
                    }
                }
                Err(other) => return other,
            }
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// An array of bulk strings, or words on a line.
    fn command(&mut self) -> Step<Vec<Vec<u8>>> {
        let line = self.line()?;
        let Some(count) = line.strip_prefix(b"*") else {
            return Ok(line
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .map(<[u8]>::to_vec)
                .collect());
        };
        let count =
            number(count, MAX_ARGUMENTS).ok_or(Parsed::Invalid("invalid multibulk length"))?;
        (0..count).map(|_| self.bulk()).collect()
    }

    fn bulk(&mut self) -> Step<Vec<u8>> {
        let line = self.line()?;
        let length = line.strip_prefix(b"$").ok_or(Parsed::Invalid("expected '$'"))?;
        let length = number(length, MAX_BYTES).ok_or(Parsed::Invalid("invalid bulk length"))?;
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Parsed::Incomplete);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Parsed::Invalid("expected a line end after the bulk"));
        }
        self.at += length + 2;
        Ok(rest[..length].to_vec())
    }

    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(if rest.len() > MAX_BYTES {
                Parsed::Invalid("too big inline request")
            } else {
                Parsed::Incomplete
            });
        };
        self.at += end + 1;
        Ok(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }
}

fn number(text: &[u8], limit: usize) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&number| number <= limit)
}

/// What a command is answered with.
pub enum Reply {
    Ok,
    Pong,
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ok => out.extend_from_slice(b"+OK\r\n"),
            Self::Pong => out.extend_from_slice(b"+PONG\r\n"),
            Self::Error(text) => out.extend_from_slice(format!("-ERR {text}\r\n").as_bytes()),
            Self::Integer(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Self::Bulk(bytes) => {
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::Array(items) => {
                out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }
}
