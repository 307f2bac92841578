//! Forks of processes with one thread, which may go on with any code in the child.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

use super::spawn::clone_args;
use super::{Child, IdMaps, exit_now};

pub enum Forked {
    Child,
    Parent(Child),
}

/// For zygotes and launchers, which start no thread, ever.
pub fn fork() -> Result<Forked> {
    // SAFETY: with one thread nobody holds a lock that the child would wait for.
    match unsafe { nix::unistd::fork() }.context("fork")? {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => {
            let pidfd = pidfd_of(child)?;
            Ok(Forked::Parent(Child { pid: child, pidfd }))
        }
    }
}

/// Of a child of ours that has not been reaped, so that the number is still its own.
fn pidfd_of(child: Pid) -> Result<OwnedFd> {
    // SAFETY: takes numbers; the descriptor it makes is close-on-exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
    let fd = Errno::result(fd).context("open pidfd")?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A fork into new namespaces; the child goes on once its ids are written.
pub fn clone_into(namespaces: u64, ids: Option<&IdMaps>) -> Result<Forked> {
    let (go, ready) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("create pipe")?;
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(namespaces, &mut pidfd);
    let size = size_of_val(&args);
    // SAFETY: a fork-like clone (no shared memory) of a process with one thread, see `fork`.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &mut args, size) };
    let pid = Errno::result(pid).context("clone")? as libc::pid_t;
    if pid == 0 {
        drop(ready);
        let go = nix::unistd::read(&go, &mut [0]);
        if go != Ok(1) {
            exit_now(1);
        }
        return Ok(Forked::Child);
    }
    let child = Child {
        pid: Pid::from_raw(pid),
        // SAFETY: CLONE_PIDFD stored a descriptor that is ours alone.
        pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
    };
    if let Some(Err(error)) = ids.map(|ids| ids.write(pid)) {
        drop(ready);
        let _ = nix::sys::wait::waitpid(child.pid, None);
        return Err(error);
    }
    nix::unistd::write(&ready, b"g").context("release child")?;
    Ok(Forked::Parent(child))
}

/// The process id behind a pidfd, as this process sees it.
pub fn pid_of(pidfd: &OwnedFd) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim();
    pid.parse().ok().filter(|pid| *pid > 0)
}
