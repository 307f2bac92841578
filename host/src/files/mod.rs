//! Opens what is beneath granted directories, for the processes of one plugin or program, which cannot:
//! the broker between them and the file system. Behind walls of its own, which leave it those directories,
//! it makes the calls that take a path, and judges each path itself. A question is untrusted, and so is
//! the directory that comes with it.

mod beneath;
#[cfg(test)]
mod escapes;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::ipc::blocking::Blocking;
use crate::ipc::files::{FromFiles, Line, MAX_CALL, ToFiles};
use crate::sandbox::{self, Grant, Role, Walls};
use crate::sys;
use beneath::Granted;

type ToPrimary = Blocking<FromFiles, ToFiles>;

/// Of a thread that answers one process.
const STACK: usize = 128 << 10;

pub fn run(walls: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let mut channel = ToPrimary::new(sys::adopt_fd(sys::CHANNEL_FD)?);
    let granted = match channel.recv()? {
        Some((ToFiles::Dirs { read_only }, dirs)) => enter(walls, &read_only, dirs),
        Some(_) => bail!("the first message was not the directories"),
        None => return Ok(()),
    };
    let granted = match granted {
        Ok(granted) => Arc::new(granted),
        Err(error) => return channel.send(&FromFiles::Failed(format!("{error:#}")), &[]),
    };
    channel.send(&FromFiles::Ready, &[])?;
    while let Some((_, lines)) = channel.recv()? {
        for line in lines {
            let granted = granted.clone();
            let answer = move || answer(&granted, &Line::new(line));
            // A thread each: a slow directory keeps only who asks for it waiting.
            let thread = thread::Builder::new().name("host-files".into()).stack_size(STACK);
            thread.spawn(answer).context("start a thread")?;
        }
    }
    Ok(())
}

fn enter(walls: Walls, read_only: &[bool], dirs: Vec<OwnedFd>) -> Result<Granted> {
    ensure!(read_only.len() == dirs.len(), "{} directories came along", dirs.len());
    let both = read_only.iter().zip(&dirs);
    let grants: Vec<_> =
        both.map(|(read_only, dir)| Grant { fd: dir.as_fd(), read_only: *read_only }).collect();
    let _ = sandbox::enter(Role::Files, walls, &grants)?;
    Granted::new(&grants)
}

fn answer(granted: &Granted, line: &Line) {
    let mut buffer = [0; MAX_CALL];
    while let Some((call, dirs)) = line.next(&mut buffer) {
        let dirs: Vec<_> = dirs.iter().map(AsFd::as_fd).collect();
        if line.answer(granted.make(&call, &dirs)).is_err() {
            return;
        }
    }
}
