//! The access log on its way from the workers: one pipe they all write whole lines to, and a task
//! that moves them on to standard output or to a file, which it opens anew when told to.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::child;
use super::output::{Output, Stream};
use crate::config;
use crate::worker::settings::LogFormat;

/// A line longer than this goes out in pieces.
const MAX_LINE: usize = 256 * 1024;

pub struct AccessLog {
    pub format: LogFormat,
    /// What the workers write to.
    pub writer: OwnedFd,
    reopen: watch::Sender<()>,
    task: JoinHandle<()>,
}

/// What the workers wrote last is moved on within this time.
const LAST_LINES: Duration = Duration::from_secs(1);

impl AccessLog {
    pub fn open(log: &config::AccessLog, output: &Output) -> Result<AccessLog> {
        let format = if log.json { LogFormat::Json } else { LogFormat::Combined };
        let (reader, writer) = child::pipe()?;
        let reopen = watch::Sender::new(());
        let task = match &log.file {
            None => {
                let relay = output.clone().relay(reader, Stream::Out, String::new());
                tokio::task::spawn_local(relay)
            }
            Some(path) => {
                let file = open(path)?;
                let reader = Receiver::from_owned_fd(reader).context("watch access log")?;
                let append = Append {
                    path: path.clone(),
                    file,
                    output: output.clone(),
                    reopen: reopen.subscribe(),
                };
                tokio::task::spawn_local(append.run(reader))
            }
        };
        Ok(AccessLog { format, writer, reopen, task })
    }

    /// Waits for the last lines, once every worker is gone.
    pub async fn finish(self) {
        drop((self.writer, self.reopen));
        let _ = tokio::time::timeout(LAST_LINES, self.task).await;
    }

    /// Goes on in a new file after somebody has moved the old one away.
    pub fn reopen(&self) {
        self.reopen.send_replace(());
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

struct Append {
    path: PathBuf,
    file: File,
    output: Output,
    reopen: watch::Receiver<()>,
}

impl Append {
    async fn run(mut self, pipe: Receiver) {
        let mut reader = BufReader::with_capacity(64 * 1024, pipe);
        let mut lines = Vec::new();
        loop {
            let arrived = tokio::select! {
                biased;
                arrived = reader.fill_buf() => arrived,
                told = self.reopen.changed() => match told {
                    Ok(()) => {
                        self.open_again();
                        continue;
                    }
                    Err(_) => reader.fill_buf().await,
                },
            };
            let arrived = match arrived {
                Ok(arrived) if !arrived.is_empty() => arrived,
                _ => return,
            };
            let length = arrived.len();
            let whole = arrived.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            lines.extend_from_slice(&arrived[..whole]);
            let rest = arrived[whole..].to_vec();
            reader.consume(length);
            if whole > 0 || lines.len() > MAX_LINE {
                self.write(&lines);
                lines.clear();
            }
            lines.extend(rest);
            if self.reopen.has_changed().unwrap_or(false) {
                self.reopen.mark_unchanged();
                self.open_again();
            }
        }
    }

    fn open_again(&mut self) {
        match open(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => self.output.log(&format!("access log: {error:#}; keeping the old file")),
        }
    }

    fn write(&mut self, lines: &[u8]) {
        if let Err(error) = self.file.write_all(lines) {
            self.output.log(&format!("write access log: {error}"));
        }
    }
}
