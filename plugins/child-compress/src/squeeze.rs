//! gzip of standard input on standard output.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

fn main() -> io::Result<()> {
    let mut encoder = GzEncoder::new(io::stdout().lock(), Compression::default());
    io::copy(&mut io::stdin().lock(), &mut encoder)?;
    encoder.finish()?.flush()
}
