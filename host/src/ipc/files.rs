//! System calls that take a path, between a process behind walls and the one that makes them for it.
//! What is asked is untrusted: see `files::beneath` for what is made of it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use anyhow::Result;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::sys;
use crate::sys::trap::{Answer, Call};

/// Two paths of the longest kind, and the rest of a call.
pub const MAX_CALL: usize = 2 * libc::PATH_MAX as usize + 256;
/// What a symbolic link says, or what a file is.
const MAX_ANSWER: usize = libc::PATH_MAX as usize + 256;

/// To the process that makes them, from the primary.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToFiles {
    /// The first message: which of the directories that come along are for reading only.
    Dirs { read_only: Vec<bool> },
    /// A process that may ask; its line comes along.
    Line,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromFiles {
    Ready,
    Failed(String),
}

/// One end of a connection that asks or answers, one call at a time. It blocks.
pub struct Line(OwnedFd);

impl Line {
    pub fn new(socket: OwnedFd) -> Line {
        Line(socket)
    }

    pub fn ask(&self, call: &Call, dirs: &[RawFd]) -> Answer {
        let bytes = postcard::to_stdvec(call).map_err(|_| Errno::EINVAL)?;
        if bytes.len() > MAX_CALL {
            return Err(Errno::ENAMETOOLONG);
        }
        sys::send_with_fds_waiting(self.0.as_fd(), &bytes, dirs).map_err(lost)?;
        let mut buffer = [0; MAX_ANSWER];
        let received = sys::recv_with_fds_waiting(self.0.as_fd(), &mut buffer).map_err(lost)?;
        let (length, mut fds) = received.ok_or(Errno::EIO)?;
        let answer: Result<Vec<u8>, i32> =
            postcard::from_bytes(&buffer[..length]).map_err(|_| Errno::EIO)?;
        answer.map(|bytes| (bytes, fds.pop())).map_err(Errno::from_raw)
    }

    /// The next question; `None` when whoever asks is gone or talks nonsense.
    pub fn next(&self, buffer: &mut [u8]) -> Option<(Call, Vec<OwnedFd>)> {
        let (length, fds) = sys::recv_with_fds_waiting(self.0.as_fd(), buffer).ok()??;
        Some((postcard::from_bytes(&buffer[..length]).ok()?, fds))
    }

    pub fn answer(&self, answer: Answer) -> Result<()> {
        let (told, fd) = match answer {
            Ok((bytes, fd)) => (Ok(bytes), fd),
            Err(errno) => (Err(errno as i32), None),
        };
        let bytes = postcard::to_stdvec(&told)?;
        let fds: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        sys::send_with_fds_waiting(self.0.as_fd(), &bytes, &fds)?;
        Ok(())
    }
}

/// A descriptor that is none is the caller's fault; everything else means that nobody answers.
fn lost(errno: Errno) -> Errno {
    if errno == Errno::EBADF { errno } else { Errno::EIO }
}
