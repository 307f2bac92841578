//! The pipes to a child, opened when they are first used: what nobody uses does not keep the child
//! from being closed.

use std::{
    io::{self, Read, Write},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::raw;
use crate::{
    Body, IoError, Result,
    body::Source,
    io::{Input, Output},
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Stdout,
    Stderr,
}

/// What a child writes.
pub struct ChildOutput {
    child: Rc<raw::Child>,
    which: Which,
    stream: Option<Input>,
}

impl ChildOutput {
    pub(super) fn new(child: Rc<raw::Child>, which: Which) -> Self {
        Self { child, which, stream: None }
    }

    fn stream(&mut self) -> Result<&mut Input, IoError> {
        if self.stream.is_none() {
            let stream = match self.which {
                Which::Stdout => self.child.stdout(),
                Which::Stderr => self.child.stderr(),
            };
            self.stream = Some(Input::new(stream.map_err(|_| IoError::Closed)?));
        }
        self.stream.as_mut().ok_or(IoError::Closed)
    }

    /// The next bytes, or none at the end, while other tasks run.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, IoError> {
        self.stream()?.chunk().await
    }

    /// All that is left, while other tasks run.
    pub async fn read_to_end_async(&mut self) -> Result<Vec<u8>, IoError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

impl std::fmt::Debug for ChildOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.which)
    }
}

/// Waits for bytes, and holds the instance up meanwhile.
impl Read for ChildOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream().map_err(io::Error::other)?;
        let bytes = stream.blocking_read(buffer.len()).map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Source for ChildOutput {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let stream = match self.stream() {
            Ok(stream) => stream,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        stream.poll_chunk(context).map_err(Into::into)
    }
}

/// A response that is what a program prints, while it prints it.
impl From<ChildOutput> for Body {
    fn from(output: ChildOutput) -> Self {
        Self::from_source(output)
    }
}

/// What a child reads.
pub struct ChildStdin {
    child: Rc<raw::Child>,
    stream: Option<Output>,
}

impl ChildStdin {
    pub(super) fn new(child: Rc<raw::Child>) -> Self {
        // It has to be ours, for dropping it is the end of the child's input.
        let stream = child.stdin().ok().map(Output::new);
        Self { child, stream }
    }

    fn stream(&mut self) -> Result<&mut Output, IoError> {
        self.stream.as_mut().ok_or(IoError::Closed)
    }

    /// Hands all bytes over, waiting while the child does not read; other tasks run meanwhile.
    /// [`IoError::Closed`] says that it never will.
    pub async fn write_all_async(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.stream()?.write_all(bytes).await
    }
}

impl std::fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stdin of {}", self.child.pid())
    }
}

/// Waits for room, and holds the instance up meanwhile.
impl Write for ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.stream().map_err(broken)?;
        stream.blocking_write(bytes).map_err(broken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(error: IoError) -> io::Error {
    match error {
        IoError::Closed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}
