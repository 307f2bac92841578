//! A file system with nothing in it. Whatever path a worker tries afterwards, there is nothing
//! there, and `..` of the root is the root.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, pivot_root};

/// The one directory that has to exist wherever this program runs.
const MOUNT_POINT: &str = "/proc";

/// Taken while /proc is still there: the way to map an artifact later.
pub fn own_descriptors() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open("/proc/self/fd", flags, Mode::empty()).context("open own descriptors")
}

pub fn leave_for_an_empty_one() -> Result<()> {
    let none: Option<&str> = None;
    // Nothing we do from here may travel back to where we came from.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("make mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("size=4k,nr_inodes=1,mode=555");
    mount(Some("empty"), MOUNT_POINT, Some("tmpfs"), flags, options).context("mount tmpfs")?;
    chdir(MOUNT_POINT).context("enter the new root")?;
    // Old and new root in one place, the old one on top: no directory is needed to put it in.
    pivot_root(".", ".").context("pivot")?;
    umount2(".", MntFlags::MNT_DETACH).context("detach the old root")?;
    chdir("/").context("enter the new root")?;
    let again = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, "/", none, again, none).context("make the root read-only")
}
