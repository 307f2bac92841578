//! Passes standard input on to standard output without looking at it.

use wasip2::cli::{stdin, stdout};
use wasip2::io::streams::StreamError;

const PIECE: u64 = 64 << 10;

fn main() -> Result<(), StreamError> {
    let (input, output) = (stdin::get_stdin(), stdout::get_stdout());
    loop {
        match output.blocking_splice(&input, PIECE) {
            Ok(_) => {}
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
