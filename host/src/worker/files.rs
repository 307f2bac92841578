//! The line to the process that opens granted files. One for all threads of this process: a call
//! with a path waits for its answer, as it waits for a disk elsewhere.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use nix::errno::Errno;

use crate::ipc::files::Line;
use crate::sys;
use crate::sys::trap::{Answer, Call};

static LINE: Mutex<Option<Line>> = Mutex::new(None);

/// From now on calls with a path, which the filter keeps from the kernel, are asked here.
pub fn ask_instead() -> Result<()> {
    sys::trap::install(ask)
}

/// Through this line; the one before was another process's, or is of no use any more.
pub fn connect(line: OwnedFd) {
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Line::new(line));
}

fn ask(call: &Call, dirs: &[RawFd]) -> Answer {
    let line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    line.as_ref().ok_or(Errno::EIO)?.ask(call, dirs)
}
