//! Who the process is: nobody, without capabilities or a way to any, closed to debuggers, and gone
//! when the primary is gone.

use std::os::fd::RawFd;

use anyhow::{Context, Result, ensure};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::sys::walls as raw;

/// Gives up capabilities and, where the host runs as root, the user and every group.
pub fn drop_to(uid: Option<u32>) -> Result<()> {
    if raw::may_drop_bounding_capabilities() {
        raw::drop_bounding_capabilities()?;
    }
    if let Some(id) = uid {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        setgroups(&[]).context("leave all groups")?;
        setresgid(gid, gid, gid).with_context(|| format!("become group {id}"))?;
        setresuid(uid, uid, uid).with_context(|| format!("become user {id}"))?;
    }
    raw::clear_capabilities()
}

/// Makes that last. The order matters: changing user clears the parent-death signal.
pub fn pin(channel: RawFd) -> Result<()> {
    prctl::set_no_new_privs().context("set no_new_privs")?;
    prctl::set_dumpable(false).context("close to debuggers")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("set parent-death signal")?;
    // If the primary died before that, no signal comes. In a pid namespace `getppid` is always 0,
    // but the primary's end of the channel tells.
    ensure!(!channel_is_dead(channel)?, "the primary is gone");
    Ok(())
}

fn channel_is_dead(channel: RawFd) -> Result<bool> {
    raw::is_hung_up(&crate::sys::borrow(channel))
}
