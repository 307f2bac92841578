//! The stdout or stderr of one instance, cut into lines.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use super::{CAPACITY, Output};

/// A longer line goes out in pieces of this size.
const LONGEST_LINE: usize = 16 << 10;

/// Nothing is allocated for a plugin that prints nothing.
pub struct GuestOutput {
    output: Output,
    line: OnceLock<Arc<Mutex<Line>>>,
}

/// The unfinished last line of an instance; it is ended when the instance is gone.
struct Line {
    output: Output,
    partial: Vec<u8>,
}

impl GuestOutput {
    pub fn new(output: Output) -> GuestOutput {
        GuestOutput { output, line: OnceLock::new() }
    }

    fn stream(&self) -> GuestStream {
        let line = self.line.get_or_init(|| {
            Arc::new(Mutex::new(Line { output: self.output.clone(), partial: Vec::new() }))
        });
        GuestStream { output: self.output.clone(), line: line.clone() }
    }
}

impl Line {
    fn write(&mut self, bytes: &[u8]) {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole > 0 {
            self.partial.extend_from_slice(&bytes[..whole]);
            self.output.push(&self.partial);
            self.partial.clear();
        }
        self.partial.extend_from_slice(&bytes[whole..]);
        if self.partial.len() > LONGEST_LINE {
            self.end();
        }
    }

    fn end(&mut self) {
        if !self.partial.is_empty() {
            self.partial.push(b'\n');
            self.output.push(&self.partial);
            self.partial.clear();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.stream())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.stream())
    }
}

struct GuestStream {
    output: Output,
    line: Arc<Mutex<Line>>,
}

impl GuestStream {
    fn put(&self, bytes: &[u8]) {
        self.line.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).write(bytes);
    }
}

#[async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.output.poll_room(cx)).await
    }
}

#[async_trait]
impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(self.output.room())
    }
}

impl AsyncWrite for GuestStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.output.poll_room(cx).is_pending() {
            return Poll::Pending;
        }
        let some = &bytes[..bytes.len().min(CAPACITY)];
        self.put(some);
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
