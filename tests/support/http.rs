//! A small HTTP/1.1 client that hides nothing: what is sent is given as bytes, and a response that
//! breaks off is told from one that never came.

use super::DEADLINE;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

pub type Header = (String, String);

#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<Header>,
}

#[derive(Debug)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<Header>,
}

impl Head {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a body of text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).get(path)
}

pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).unwrap_or_else(|cause| panic!("connect {address}: {cause}"))
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(stream))
    }

    pub fn open_unix(path: &Path) -> Connection {
        let stream = UnixStream::connect(path).expect("connect to the Unix socket");
        // Reading, writing, time-outs and shutdown are the same calls for every stream socket.
        Connection::over(TcpStream::from(OwnedFd::from(stream)))
    }

    pub fn over(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
        stream.set_write_timeout(Some(DEADLINE)).expect("set a time-out");
        Connection(BufReader::new(stream))
    }

    /// A second handle, to write while another thread reads.
    pub fn writer(&self) -> TcpStream {
        self.0.get_ref().try_clone().expect("duplicate a socket")
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send(get_request(path));
        self.response()
    }

    /// Sends a body of known length.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Response {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
        ));
        self.send(body);
        self.response()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Whether nothing has come, not even the end.
    pub fn is_silent(&self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).expect("look without waiting");
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("wait again");
        self.0.buffer().is_empty() && seen.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    pub fn response(&mut self) -> Response {
        self.try_response().expect("a whole response").expect("a response, not the end")
    }

    /// `None`: the connection ended before the first byte. An error: it broke off later.
    pub fn try_response(&mut self) -> io::Result<Option<Response>> {
        let Some(head) = self.try_head()? else { return Ok(None) };
        let mut body = Vec::new();
        let trailers = self.try_body(&head, |piece| body.extend_from_slice(piece))?;
        Ok(Some(Response { head, body, trailers }))
    }

    pub fn head(&mut self) -> Head {
        self.try_head().expect("a whole head").expect("a head, not the end")
    }

    pub fn try_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if self.0.fill_buf().or_else(end_if_reset)?.is_empty() {
                return Ok(None);
            }
            let line = self.line()?;
            let mut words = line.splitn(3, ' ');
            let status = words.nth(1).and_then(|word| word.parse().ok());
            let status = status.ok_or_else(|| malformed(&line))?;
            let headers = self.fields()?;
            // 100 and its like only announce the response.
            if status >= 200 {
                return Ok(Some(Head { status, headers }));
            }
        }
    }

    /// Reads the body piece by piece and returns the trailers.
    pub fn try_body(
        &mut self,
        head: &Head,
        mut piece: impl FnMut(&[u8]),
    ) -> io::Result<Vec<Header>> {
        if head.status == 204 || head.status == 304 {
            return Ok(Vec::new());
        }
        if head.header("transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16);
                match size.map_err(|_| malformed(&line))? {
                    0 => return self.fields(),
                    size => self.exactly(size, &mut piece)?,
                }
                self.line()?;
            }
        }
        match head.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| malformed(length))?;
                self.exactly(length, &mut piece)?;
            }
            None => {
                let mut rest = Vec::new();
                self.0.read_to_end(&mut rest)?;
                piece(&rest);
            }
        }
        Ok(Vec::new())
    }

    /// Reads until this text has come; for protocols other than HTTP.
    pub fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let available = self.0.fill_buf().unwrap_or_default();
            let length = available.len().min(1);
            seen.extend_from_slice(&available[..length]);
            let all = String::from_utf8_lossy(&seen);
            assert!(length > 0, "the connection ended before {text:?}; it sent {all:?}");
            self.0.consume(length);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Reads until the other side closes; returns what came before that.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(cause) if cause.kind() != ErrorKind::ConnectionReset => panic!("{cause}"),
            _ => rest,
        }
    }

    fn exactly(&mut self, mut length: usize, piece: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            let available = self.0.fill_buf()?;
            if available.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let taken = available.len().min(length);
            piece(&available[..taken]);
            self.0.consume(taken);
            length -= taken;
        }
        Ok(())
    }

    fn fields(&mut self) -> io::Result<Vec<Header>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(text) => Ok(text.to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

pub fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// A reset before the first byte is an end like any other.
fn end_if_reset<'a>(cause: io::Error) -> io::Result<&'a [u8]> {
    match cause.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(&[]),
        _ => Err(cause),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed: {what:?}"))
}
