//! Granted directories as they come along at the start: their descriptors, and with any of these a
//! line to who opens what is beneath them.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};

use super::settings::{Dir, Settings};
use super::state::Preopens;
use super::{file_threads, files};
use crate::sandbox::{Grant, Walls};

pub struct Granted {
    dirs: Vec<Dir>,
    /// In the order of `dirs`.
    opened: Vec<OwnedFd>,
    line: Option<OwnedFd>,
}

impl Granted {
    /// Takes what is left of the first message's descriptors once all others are taken.
    pub fn sort(
        settings: &Settings,
        walls: &Walls,
        mut fds: impl Iterator<Item = OwnedFd>,
    ) -> Result<Granted> {
        let dirs = settings.dirs.clone();
        let opened = fds.by_ref().take(dirs.len()).collect();
        let line = settings.asks_for_files(walls).then(|| fds.next().context("no line came along"));
        Ok(Granted { dirs, opened, line: line.transpose()? })
    }

    /// While this process can still open anything.
    pub fn preopens(&self) -> Result<Preopens> {
        Preopens::open(&self.dirs, &self.opened)
    }

    pub fn grants(&self) -> Vec<Grant<'_>> {
        let both = self.dirs.iter().zip(&self.opened);
        both.map(|(dir, fd)| Grant { fd: fd.as_fd(), read_only: dir.read_only }).collect()
    }

    /// Before the walls are complete: what makes the plugin's file work run from then on.
    pub async fn ready(self) -> Result<()> {
        if !self.dirs.is_empty() {
            file_threads::start().await?;
        }
        if let Some(line) = self.line {
            files::ask_instead()?;
            files::connect(line);
        }
        Ok(())
    }
}
