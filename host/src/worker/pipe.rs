//! The two ends of pipes as WASI streams: what a program reads and writes, and what its spawner
//! does at the other ends.

mod input;
mod output;

use std::io;

use wasmtime_wasi::p2::StreamError;

pub use input::{Ending, Input};
pub use output::Output;

/// What one call moves at most.
const CHUNK: usize = 64 << 10;

fn stream_error(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}
