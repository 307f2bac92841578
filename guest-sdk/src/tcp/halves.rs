//! Reading and writing apart.

use bytes::{Bytes, BytesMut};

use crate::{
    IoError, Result,
    io::{Input, Output},
};

/// The reading half of a connection.
pub struct Reader {
    input: Input,
    /// Read from the host, not yet by the plugin.
    pub(super) held: BytesMut,
}

impl Reader {
    pub(super) fn new(input: Input) -> Self {
        Self { input, held: BytesMut::new() }
    }

    /// The next bytes, or none at the end.
    pub async fn read(&mut self) -> Result<Option<Bytes>, IoError> {
        if !self.held.is_empty() {
            return Ok(Some(self.held.split().freeze()));
        }
        self.input.chunk().await
    }

    /// The next line, without `\n` or `\r\n`; none at the end. A longer line than `limit` bytes is an error, and so is
    /// one that is not UTF-8.
    pub async fn line(&mut self, limit: usize) -> Result<Option<String>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.held[searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.held.split_to(searched + at + 1);
                return Ok(Some(text(&line)?));
            }
            searched = self.held.len();
            if searched > limit {
                return Err(format!("line exceeds {limit} bytes").into());
            }
            match self.input.chunk().await? {
                Some(bytes) => self.held.extend_from_slice(&bytes),
                None if self.held.is_empty() => return Ok(None),
                None => return Ok(Some(text(&self.held.split())?)),
            }
        }
    }
}

fn text(line: &[u8]) -> Result<String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(std::str::from_utf8(line)?.to_owned())
}

/// The writing half of a connection. Dropping it ends that direction after what was written.
pub struct Writer(pub(super) Output);

impl Writer {
    /// Sends all bytes, waiting while the client does not take them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.0.write_all(bytes).await
    }
}
