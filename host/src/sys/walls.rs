//! The raw system calls of the sandbox that no library wraps.

use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Not in the libc crate: `prctl` option and flag of "memory deny write execute".
const PR_SET_MDWE: i32 = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: u64 = 1;

fn prctl(option: i32, a: u64, b: u64) -> Result<i32, Errno> {
    // SAFETY: every option used in this file takes plain numbers, no pointers.
    let result = unsafe { libc::prctl(option, a, b, 0u64, 0u64) };
    Errno::result(result)
}

/// Empties the set of capabilities that exec could ever give back.
pub fn drop_bounding_capabilities() -> Result<()> {
    for capability in 0.. {
        match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            // The first number the kernel has no capability for.
            Err(Errno::EINVAL) => return Ok(()),
            Err(error) => return Err(error).context("drop bounding capability"),
        }
    }
    Ok(())
}

pub fn may_drop_bounding_capabilities() -> bool {
    capabilities().is_ok_and(|(effective, _, _)| effective & (1 << 8) != 0)
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability for good; those in the bounding set stay obtainable by exec only.
pub fn clear_capabilities() -> Result<()> {
    // Fails on kernels without ambient capabilities, which then have none to clear.
    let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0);
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let none = [CapData::default(); 2];
    // SAFETY: version 3 reads one header and two data blocks, which is what it is given.
    let result = unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) };
    Errno::result(result).context("clear capabilities")?;
    Ok(())
}

/// Effective, permitted and inheritable capabilities.
pub fn capabilities() -> Result<(u64, u64, u64)> {
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 writes two data blocks, which is what it is given.
    let result = unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) };
    Errno::result(result).context("read capabilities")?;
    let join = |part: fn(&CapData) -> u32| u64::from(part(&data[1])) << 32 | part(&data[0]) as u64;
    Ok((join(|d| d.effective), join(|d| d.permitted), join(|d| d.inheritable)))
}

/// From now on no memory of this process can become executable. False where the kernel cannot.
pub fn refuse_new_code() -> Result<bool> {
    match prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0) {
        Ok(_) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(error) => Err(error).context("refuse new code"),
    }
}

/// 2 under a filter, 0 without one.
pub fn seccomp_mode() -> i32 {
    prctl(libc::PR_GET_SECCOMP, 0, 0).unwrap_or(-1)
}

static DIED_BY: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// The first process of a pid namespace does not die of a signal that a default action sends, and
/// its `abort` ends as SIGSEGV. So it notes the number where the primary looks, and exits with the
/// code a shell would report. Faults need no help: they kill such a process, too.
pub fn note_fatal_signals(at: &'static AtomicU64) -> Result<()> {
    if nix::unistd::getpid().as_raw() != 1 {
        return Ok(());
    }
    DIED_BY.store(std::ptr::from_ref(at).cast_mut(), Relaxed);
    use Signal::*;
    let handler = SigHandler::Handler(on_fatal_signal);
    let action = SigAction::new(handler, SaFlags::SA_ONSTACK, SigSet::empty());
    let deadly = [
        SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGXCPU, SIGXFSZ,
        SIGVTALRM, SIGPROF, SIGIO,
    ];
    for signal in deadly {
        // SAFETY: the handler makes one atomic store and exits: both async-signal-safe.
        unsafe { sigaction(signal, &action) }.context("handle signal")?;
    }
    Ok(())
}

extern "C" fn on_fatal_signal(number: i32) {
    let at = DIED_BY.load(Relaxed);
    // SAFETY: null, or from the `&'static AtomicU64` stored above; `_exit` takes any number.
    unsafe {
        if !at.is_null() {
            (*at).store(number as u64, Relaxed);
        }
        libc::_exit(128 + number)
    }
}

/// A limit the kernel enforces on this process, soft and hard alike; never raised.
pub fn limit(resource: nix::sys::resource::Resource, most: u64) -> Result<()> {
    use nix::sys::resource::{getrlimit, setrlimit};
    let (_, hard) = getrlimit(resource).with_context(|| format!("read {resource:?}"))?;
    let most = most.min(hard);
    setrlimit(resource, most, most).with_context(|| format!("set {resource:?}"))
}

/// SIGXCPU after so many seconds of processor time, SIGKILL a little later; 0 is no limit.
pub fn limit_processor_time(seconds: u64) -> Result<()> {
    use nix::sys::resource::{Resource::RLIMIT_CPU, getrlimit, setrlimit};
    if seconds == 0 {
        return Ok(());
    }
    let (_, hard) = getrlimit(RLIMIT_CPU).context("read RLIMIT_CPU")?;
    setrlimit(RLIMIT_CPU, seconds.min(hard), (seconds + 2).min(hard)).context("set RLIMIT_CPU")
}

/// This process is killed when the thread that made it ends.
pub fn die_with_parent() -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0).context("set parent-death signal")?;
    Ok(())
}

/// As a program expects to find signals: Rust ignores SIGPIPE, and what is ignored stays so over
/// exec.
pub fn default_signals() -> Result<()> {
    use nix::sys::signal::signal;
    for number in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(number, SigHandler::SigDfl) }.context("reset signal")?;
    }
    SigSet::empty().thread_set_mask().context("unblock signals")
}

/// Replaces this process; comes back only with the reason why not.
pub fn exec(path: &CString, args: &[CString], env: &[CString]) -> Errno {
    match nix::unistd::execve(path, args, env) {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

/// Bounds what a child of ours can have mapped for itself.
pub fn limit_mapped_memory(child: &super::Child, most: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: reads one initialized structure; the child is not reaped, so its pid is its own.
    let set = unsafe {
        libc::prlimit(child.pid.as_raw(), libc::RLIMIT_DATA, &limit, std::ptr::null_mut())
    };
    match Errno::result(set) {
        // What is gone needs no limit; why it is gone is told elsewhere.
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).context("limit mapped memory of child"),
    }
}

/// Whether the peer of this socket has gone.
pub fn is_hung_up(socket: &impl std::os::fd::AsFd) -> Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO).context("poll channel")?;
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    Ok(polled[0].revents().is_some_and(|events| events.intersects(gone)))
}
