//! Granted directories of a host that runs as root. Its workers are nobody, and nobody could use a
//! directory of root's: so they get it through a mount of its own, in which nobody stands for the
//! directory's owner. Whoever escapes in a worker gains the owner's rights beneath that directory,
//! which is what was granted, and none elsewhere.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use super::walls::Walls;
use crate::sys::{self, IdMaps};

/// The descriptor to hand to a worker. Where the kernel or the file system cannot do this, it is the
/// plain directory, and a worker may there what nobody may.
pub fn lend(dir: OwnedFd, read_only: bool, walls: Walls) -> OwnedFd {
    match walls.uid.map(|worker| stand_in(&dir, read_only, worker)) {
        Some(Ok(lent)) => lent,
        _ => dir,
    }
}

fn stand_in(dir: &OwnedFd, read_only: bool, worker: u32) -> Result<OwnedFd> {
    let owner = fstat(dir).context("stat directory")?;
    let ids = IdMaps {
        uid: swapped(owner.st_uid, worker),
        gid: swapped(owner.st_gid, worker),
        deny_setgroups: false,
    };
    let mount = sys::mounts::mapped_copy(dir, &sys::user_namespace(&ids)?, read_only)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(mount.as_fd(), ".", flags, Mode::empty()).context("open mapped directory")
}

/// A map of all ids to themselves, except that these two change places.
fn swapped(a: u32, b: u32) -> String {
    let (low, high) = (a.min(b), a.max(b));
    let mut lines = String::new();
    let mut line = |inside: u32, outside: u32, count: u32| {
        if count > 0 {
            lines.push_str(&format!("{inside} {outside} {count}\n"));
        }
    };
    line(0, 0, low);
    line(low, high, 1);
    if low != high {
        line(low + 1, low + 1, high - low - 1);
        line(high, low, 1);
    }
    // The last number is no id.
    line(high + 1, high + 1, u32::MAX - high - 1);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_change_places_and_no_other_moves() {
        assert_eq!(swapped(0, 65534), "0 65534 1\n1 1 65533\n65534 0 1\n65535 65535 4294901760\n");
        assert_eq!(swapped(7, 7), "0 0 7\n7 7 1\n8 8 4294967287\n");
        assert!(swapped(65534, 1000).contains("\n1000 65534 1\n1001 1001 64533\n65534 1000 1\n"));
    }
}
