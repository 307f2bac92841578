//! What lies between a child and its owner: pipes, relays of inherited output, a message line.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::output::{Output, Stream};
use crate::ipc::child::{Spawn, Stdio};
use crate::ipc::line::Pipes;

/// What the pipe between two processes holds: more, and they take fewer turns.
const PIPE: i32 = 1 << 20;

/// The ends of everything between a child and its owner.
pub struct Plumbing {
    pub connected: [bool; 3],
    pub theirs: Vec<OwnedFd>,
    pub ours: Vec<OwnedFd>,
}

impl Plumbing {
    pub fn new(spawn: &Spawn, output: &Output, prefix: &str) -> Result<Plumbing> {
        let mut plumbing = Plumbing { connected: [false; 3], theirs: vec![], ours: vec![] };
        let [stdin, stdout, stderr] = spawn.stdio;
        if stdin == Stdio::Pipe {
            let (reader, writer) = pipe()?;
            plumbing.connect(0, reader, writer)?;
        }
        for (number, stdio, stream) in [(1, stdout, Stream::Out), (2, stderr, Stream::Err)] {
            if stdio == Stdio::Ignore {
                continue;
            }
            let (reader, writer) = pipe()?;
            if stdio == Stdio::Pipe {
                plumbing.connect(number, writer, reader)?;
                continue;
            }
            unblock(&reader)?;
            plumbing.connected[number] = true;
            plumbing.theirs.push(writer);
            let relay = output.clone().relay(reader, stream, prefix.to_owned());
            tokio::task::spawn_local(relay);
        }
        if spawn.ipc {
            let (ours, theirs) = Pipes::pair()?;
            plumbing.ours.extend(ours.into_fds());
            plumbing.theirs.extend(theirs.into_fds());
        }
        Ok(plumbing)
    }

    fn connect(&mut self, number: usize, theirs: OwnedFd, ours: OwnedFd) -> Result<()> {
        // Fails where the user has many such pipes already; then it is a smaller one.
        let _ = fcntl(&ours, FcntlArg::F_SETPIPE_SZ(PIPE));
        unblock(&ours)?;
        self.connected[number] = true;
        self.theirs.push(theirs);
        self.ours.push(ours);
        Ok(())
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).context("create pipe")
}

fn unblock(fd: &OwnedFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("set non-blocking")?;
    Ok(())
}
