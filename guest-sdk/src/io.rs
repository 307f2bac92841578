//! Byte streams of the host, as bodies and connections share them.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use wasip2::io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError},
};

use crate::task;

/// What one call reads at most.
const READ: u64 = 64 * 1024;

/// Why a stream ended otherwise than by its regular end.
#[derive(Debug)]
pub enum IoError {
    /// Writing: the other side reads no more.
    Closed,
    /// The host's words for what went wrong, such as a reset connection.
    Failed(String),
}

impl std::fmt::Display for IoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side has closed the stream"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for IoError {}

impl From<StreamError> for IoError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed => Self::Closed,
            StreamError::LastOperationFailed(error) => Self::Failed(error.to_debug_string()),
        }
    }
}

/// The reading end. The fields are in the order they must be dropped in: a pollable before its stream.
pub(crate) struct Input {
    waiting: Option<task::Wait>,
    pollable: Option<Rc<Pollable>>,
    stream: InputStream,
    /// After a read that took all there was, the next one would find nothing.
    waits_when_drained: bool,
}

impl Input {
    /// For a body, whose end is often already there.
    pub(crate) fn new(stream: InputStream) -> Self {
        Self { waiting: None, pollable: None, stream, waits_when_drained: false }
    }

    /// For a peer that talks in turns.
    pub(crate) fn of_connection(stream: InputStream) -> Self {
        let mut input = Self { waits_when_drained: true, ..Self::new(stream) };
        input.start_waiting();
        input
    }

    /// The next bytes, or none at the end.
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, IoError>> {
        ready!(task::poll_turn(context));
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(Pin::new(waiting).poll(context));
                self.waiting = None;
            }
            match self.stream.read(READ) {
                Ok(bytes) if bytes.is_empty() => self.start_waiting(),
                Ok(bytes) => {
                    if self.waits_when_drained && (bytes.len() as u64) < READ {
                        self.start_waiting();
                    }
                    return Poll::Ready(Ok(Some(bytes.into())));
                }
                Err(StreamError::Closed) => return Poll::Ready(Ok(None)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn start_waiting(&mut self) {
        let stream = &self.stream;
        let pollable = self.pollable.get_or_insert_with(|| Rc::new(stream.subscribe()));
        self.waiting = Some(task::wait(pollable));
    }

    /// The next bytes, none at the end; waits for them without letting other tasks run.
    pub(crate) fn blocking_read(&mut self, most: usize) -> Result<Vec<u8>, IoError> {
        match self.stream.blocking_read(READ.min(most as u64)) {
            Err(StreamError::Closed) => Ok(Vec::new()),
            result => Ok(result?),
        }
    }

    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, IoError> {
        poll_fn(|context| self.poll_chunk(context)).await
    }
}

/// The writing end.
pub(crate) struct Output {
    pollable: Option<Rc<Pollable>>,
    stream: OutputStream,
}

impl Output {
    pub(crate) fn new(stream: OutputStream) -> Self {
        Self { pollable: None, stream }
    }

    /// Hands all bytes to the host, waiting while it has no room.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), IoError> {
        while !bytes.is_empty() {
            let room = self.stream.check_write()?;
            if room == 0 {
                self.wait().await;
                continue;
            }
            let (now, rest) =
                bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.stream.write(now)?;
            bytes = rest;
            poll_fn(task::poll_turn).await;
        }
        Ok(())
    }

    /// Hands some bytes to the host, waiting for room without letting other tasks run.
    pub(crate) fn blocking_write(&mut self, bytes: &[u8]) -> Result<usize, IoError> {
        loop {
            let room = usize::try_from(self.stream.check_write()?).unwrap_or(usize::MAX);
            if room > 0 {
                let now = &bytes[..bytes.len().min(room)];
                self.stream.write(now)?;
                return Ok(now.len());
            }
            self.stream.subscribe().block();
        }
    }

    /// Waits until the host has passed on what was written.
    pub(crate) async fn flush(&mut self) -> Result<(), IoError> {
        self.stream.flush()?;
        while self.stream.check_write()? == 0 {
            self.wait().await;
        }
        Ok(())
    }

    async fn wait(&mut self) {
        let stream = &self.stream;
        let pollable = self.pollable.get_or_insert_with(|| Rc::new(stream.subscribe()));
        task::wait(pollable).await;
    }
}
