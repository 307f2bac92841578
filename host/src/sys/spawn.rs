//! Starts a child: clone + exec of this very binary, in new namespaces where asked.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::CHANNEL_FD;

/// A child process: its pidfd stays valid however often the pid is reused.
pub struct Child {
    pub pid: nix::unistd::Pid,
    pub pidfd: OwnedFd,
}

impl Child {
    pub fn kill(&self, signal: nix::sys::signal::Signal) {
        let (fd, signal) = (self.pidfd.as_raw_fd(), signal as i32);
        // SAFETY: a plain system call on a descriptor we own.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, 0, 0) };
    }
}

/// What `spawn` gives the child: title, role and walls as arguments, descriptors 0–3, nothing else.
pub struct Spawn<'a> {
    pub title: &'a str,
    pub role: &'a str,
    /// What the sandbox tells its other half in the child.
    pub walls: &'a str,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    pub channel: BorrowedFd<'a>,
    /// Extra clone flags: the namespaces the child starts in.
    pub namespaces: u64,
    /// Who the child may be, if it starts in a user namespace of its own.
    pub ids: Option<&'a IdMaps>,
}

/// The contents of a new user namespace's `uid_map` and `gid_map`.
pub struct IdMaps {
    pub uid: String,
    pub gid: String,
    /// Needed where an unprivileged process makes the namespace; takes `setgroups` from it.
    pub deny_setgroups: bool,
}

impl IdMaps {
    pub(super) fn write(&self, child: libc::pid_t) -> Result<()> {
        let write = |name: &str, text: &str| {
            std::fs::write(format!("/proc/{child}/{name}"), text)
                .with_context(|| format!("write {name}"))
        };
        if self.deny_setgroups {
            write("setgroups", "deny")?;
        }
        write("gid_map", &self.gid)?;
        write("uid_map", &self.uid)
    }
}

/// Room `set_title` finds in a child's argument area.
const TITLE_ROOM: usize = 128;

/// All of a child's environment: tells the allocator not to look for NUMA nodes under /sys, which it
/// would do at some later allocation, behind the walls.
const ONE_NUMA_NODE: &std::ffi::CStr = c"MIMALLOC_USE_NUMA_NODES=1";

/// clone + exec of this very binary, with no environment of ours and a parent-death signal.
pub fn spawn(what: &Spawn<'_>) -> Result<Child> {
    let title = CString::new(format!("{:<TITLE_ROOM$}", what.title)).context("title of child")?;
    let role = CString::new(what.role).context("role of child")?;
    let walls = CString::new(what.walls).context("walls of child")?;
    let argv = [title.as_ptr(), role.as_ptr(), walls.as_ptr(), std::ptr::null()];
    let envp = [ONE_NUMA_NODE.as_ptr(), std::ptr::null()];
    let wanted = [what.stdin, what.stdout, what.stderr, what.channel].map(|fd| fd.as_raw_fd());
    // Above every target number, so that placing one cannot overwrite another.
    let parked = wanted.iter().map(|fd| park(*fd)).collect::<Result<Vec<OwnedFd>>>()?;
    let sources: [RawFd; 4] = std::array::from_fn(|i| parked[i].as_raw_fd());
    // The child waits on this pipe until its ids are written, and gives up if we die before that.
    let (go, ready) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("create pipe")?;
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(what.namespaces, &mut pidfd);
    let size = size_of_val(&args);
    // SAFETY: a fork-like clone (no shared memory); the child makes only the async-signal-safe
    // calls of `exec_child` on values prepared above, then execs or exits.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &mut args, size) };
    match pid {
        -1 => return Err(Errno::last()).context("clone"),
        0 => exec_child(&sources, (&go, &ready), &argv, &envp),
        _ => {}
    }
    let child = Child {
        pid: nix::unistd::Pid::from_raw(pid as i32),
        // SAFETY: CLONE_PIDFD stored a descriptor that is ours alone.
        pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
    };
    if let Some(Err(error)) = what.ids.map(|ids| ids.write(pid as i32)) {
        drop(ready);
        let _ = nix::sys::wait::waitpid(child.pid, None);
        return Err(error);
    }
    nix::unistd::write(&ready, b"g").context("release child")?;
    Ok(child)
}

/// A user namespace with nobody in it, for a mount to map ids by.
pub fn user_namespace(ids: &IdMaps) -> Result<OwnedFd> {
    let (go, ready) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("create pipe")?;
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(libc::CLONE_NEWUSER as u64, &mut pidfd);
    let size = size_of_val(&args);
    // SAFETY: a fork-like clone; the child makes only async-signal-safe calls, then exits.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &mut args, size) };
    let pid = match Errno::result(pid).context("clone")? {
        0 => {
            let mut byte = 0u8;
            // SAFETY: waits for the pipe's end on a descriptor it has from its parent.
            unsafe {
                libc::close(ready.as_raw_fd());
                libc::read(go.as_raw_fd(), (&raw mut byte).cast(), 1);
                libc::_exit(0)
            }
        }
        pid => pid as libc::pid_t,
    };
    // SAFETY: CLONE_PIDFD stored a descriptor that is ours alone.
    let _pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let namespace = ids
        .write(pid)
        .and_then(|()| std::fs::File::open(format!("/proc/{pid}/ns/user")).context("open"));
    drop(ready);
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).context("reap")?;
    Ok(namespace?.into())
}

pub(super) fn clone_args(namespaces: u64, pidfd: &mut RawFd) -> libc::clone_args {
    // SAFETY: all-zero is the documented default of every field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64 | namespaces;
    args.pidfd = pidfd as *mut RawFd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args
}

fn park(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: borrowed for the duplication only; the caller holds it open.
    let copy = fcntl(unsafe { BorrowedFd::borrow_raw(fd) }, FcntlArg::F_DUPFD_CLOEXEC(64))
        .context("duplicate descriptor for child")?;
    // SAFETY: F_DUPFD has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn exec_child(
    sources: &[RawFd; 4],
    (go, ready): (&OwnedFd, &OwnedFd),
    argv: &[*const libc::c_char; 4],
    envp: &[*const libc::c_char; 2],
) -> ! {
    // SAFETY: async-signal-safe calls only, on memory prepared before the clone.
    unsafe {
        libc::close(ready.as_raw_fd());
        let mut byte = 0u8;
        if libc::read(go.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(127);
        }
        for (target, source) in sources.iter().enumerate() {
            libc::dup2(*source, target as i32);
        }
        libc::syscall(libc::SYS_close_range, CHANNEL_FD + 1, libc::c_uint::MAX, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // The allocator reserves far more than it touches; huge pages would make that resident.
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
        // The primary blocks or ignores nothing that a child should not meet in its default state.
        for signal in 1..=31 {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let mut empty: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut empty);
        libc::sigprocmask(libc::SIG_SETMASK, &empty, std::ptr::null_mut());
        libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), envp.as_ptr());
        libc::_exit(127)
    }
}
