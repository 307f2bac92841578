//! Copies standard input to standard output.

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let (mut stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stdin.read(&mut buffer)? {
            0 => return stdout.flush(),
            length => stdout.write_all(&buffer[..length])?,
        }
    }
}
