//! Starts a child role and reaps it: channel on descriptor 3, its two output streams relayed line
//! by line, its end read from the pidfd.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;

use tokio::task::JoinHandle;

use super::output::{Output, Stream};
use crate::ipc::channel::{self, Channel};
use crate::sandbox::{namespaces, probe};
use crate::sys::{self, Spawn};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

impl End {
    /// The first process of a pid namespace notes the signal that ends it, and exits instead.
    pub fn unmasked(self, noted: u64) -> End {
        match self {
            End::Code(code) if noted > 0 && code as u64 == 128 + noted => End::Signal(noted as i32),
            end => end,
        }
    }

    /// The same for a child that has no place to note it, and uses no such codes of its own.
    pub fn unmasked_by_code(self) -> End {
        match self {
            End::Code(code @ 129..192) => End::Signal(code - 128),
            end => end,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Code(code) => write!(f, "exited with code {code}"),
            End::Signal(number) => write!(f, "was killed by {}", sys::signal_name(*number)),
        }
    }
}

pub struct Child<Out, In> {
    pub process: sys::Child,
    pub channel: Channel<Out, In>,
    pub relays: Vec<JoinHandle<()>>,
}

/// Starts `role` under `title`; each of its output lines gets `prefix`.
pub fn start<Out: Serialize, In: DeserializeOwned>(
    role: &str,
    title: &str,
    prefix: &str,
    output: &Output,
) -> Result<Child<Out, In>> {
    let walls = probe::decided()?.for_child(role);
    let (ours, theirs) = channel::pair()?;
    let null = File::open("/dev/null").context("open /dev/null")?;
    let (out_reader, out_writer) = pipe()?;
    let (err_reader, err_writer) = pipe()?;
    let process = sys::spawn(&Spawn {
        title,
        role,
        stdin: null.as_fd(),
        stdout: out_writer.as_fd(),
        stderr: err_writer.as_fd(),
        channel: theirs.as_fd(),
        walls: &walls.encode(),
        namespaces: namespaces::flags(&walls),
        ids: namespaces::id_maps(&walls).as_ref(),
    })?;
    let relay = |pipe, stream| {
        tokio::task::spawn_local(output.clone().relay(pipe, stream, prefix.to_owned()))
    };
    Ok(Child {
        process,
        channel: Channel::new(ours)?,
        relays: vec![relay(out_reader, Stream::Out), relay(err_reader, Stream::Err)],
    })
}

pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("create pipe")?;
    let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(&reader, flags).context("set non-blocking")?;
    Ok((reader, writer))
}

/// Waits for the end of a child and reaps it.
pub async fn wait(pidfd: &OwnedFd) -> Result<End> {
    let watched = sys::watch(pidfd.try_clone()?, Interest::READABLE).context("watch pidfd")?;
    loop {
        let mut ready = watched.readable().await.context("wait for pidfd")?;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        match waitid(Id::PIDFd(pidfd.as_fd()), flags).context("reap child")? {
            WaitStatus::Exited(_, code) => return Ok(End::Code(code)),
            WaitStatus::Signaled(_, signal, _) => return Ok(End::Signal(signal as i32)),
            _ => ready.clear_ready(),
        }
    }
}
