//! What the primary prints: its own log and the lines of its children, whole and in order. A thread
//! of its own does the blocking writes, so that a reader who stalls never stalls supervision.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::{broadcast, mpsc};

/// Lines that may wait for the writer before children are made to wait.
const WAITING: usize = 1024;
/// A child's longer line is printed in pieces of this size.
const MAX_LINE: u64 = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

struct Line(Stream, Vec<u8>);

/// A handle to the writer; clones share it.
#[derive(Clone)]
pub struct Output {
    lines: mpsc::Sender<Line>,
    recent: Rc<Recent>,
}

/// Recent lines `host logs` can show, whatever becomes of the streams: this many, this large each.
const RECENT: usize = 1000;
const RECENT_LINE: usize = 1024;

struct Recent {
    lines: RefCell<VecDeque<Rc<str>>>,
    followers: broadcast::Sender<Rc<str>>,
}

impl Recent {
    fn new() -> Recent {
        Recent { lines: RefCell::default(), followers: broadcast::Sender::new(RECENT) }
    }

    fn add(&self, line: &[u8]) {
        let line = &line[..line.len().min(RECENT_LINE)];
        let line: Rc<str> = String::from_utf8_lossy(line).trim_end().into();
        let mut lines = self.lines.borrow_mut();
        if lines.len() == RECENT {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        let _ = self.followers.send(line);
    }
}

/// Joins the writer; keep it until every `Output` is dropped.
pub struct Writer(std::thread::JoinHandle<()>, std::sync::mpsc::Receiver<()>);

impl Output {
    pub fn start() -> std::io::Result<(Output, Writer)> {
        let (lines, mut queue) = mpsc::channel::<Line>(WAITING);
        let (done, finished) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("output".into()).spawn(move || {
            while let Some(Line(stream, bytes)) = queue.blocking_recv() {
                let _ = match stream {
                    Stream::Out => write_flushed(std::io::stdout(), &bytes),
                    Stream::Err => write_flushed(std::io::stderr(), &bytes),
                };
            }
            let _ = done.send(());
        })?;
        Ok((Output { lines, recent: Rc::new(Recent::new()) }, Writer(thread, finished)))
    }

    /// The recent lines, and those to come.
    pub fn recent(&self) -> (Vec<Rc<str>>, broadcast::Receiver<Rc<str>>) {
        let lines = self.recent.lines.borrow().iter().cloned().collect();
        (lines, self.recent.followers.subscribe())
    }

    /// Takes nothing: whoever relays to it stops at the first line.
    pub fn nowhere() -> Output {
        Output { lines: mpsc::channel(1).0, recent: Rc::new(Recent::new()) }
    }

    /// One line of the host's own, on stderr. Dropped only if a thousand lines wait unread.
    pub fn log(&self, text: &str) {
        let line = format!("host: {text}\n").into_bytes();
        self.recent.add(&line);
        let _ = self.lines.try_send(Line(Stream::Err, line));
    }

    /// Prints a child's stream line by line until it ends, each with `prefix`.
    pub async fn relay(self, pipe: OwnedFd, stream: Stream, prefix: String) {
        let Ok(pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe) else {
            return;
        };
        let mut reader = BufReader::new(pipe);
        loop {
            let mut line = prefix.clone().into_bytes();
            match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if line.last() != Some(&b'\n') => line.push(b'\n'),
                Ok(_) => {}
            }
            if !prefix.is_empty() {
                self.recent.add(&line);
            }
            if self.lines.send(Line(stream, line)).await.is_err() {
                return;
            }
        }
    }
}

fn write_flushed(mut to: impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

impl Writer {
    /// Waits for the last line to be written, but not for a reader who has stopped reading.
    pub fn finish(self) {
        if self.1.recv_timeout(Duration::from_secs(2)).is_ok() {
            let _ = self.0.join();
        }
    }
}
