//! System calls that take a path, where the filter lets none through: it turns each into a signal,
//! and the handler has somebody else make the call. So libraries that know nothing of walls work
//! behind them unchanged.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use serde::{Deserialize, Serialize};

use super::stat;

/// A call, for somebody else to make. Descriptors belong to it: the directory each path starts from,
/// in their order.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    /// The answer brings a descriptor.
    Open {
        path: CString,
        flags: i32,
        mode: u32,
        resolve: u64,
    },
    /// The answer is a `struct stat`,
    Stat {
        path: CString,
        flags: i32,
    },
    /// or a `struct statx`.
    Statx {
        path: CString,
        flags: i32,
        mask: u32,
    },
    MakeDir {
        path: CString,
        mode: u32,
    },
    Remove {
        path: CString,
        flags: i32,
    },
    Rename {
        from: CString,
        to: CString,
        flags: u32,
    },
    Link {
        from: CString,
        to: CString,
        flags: i32,
    },
    SymLink {
        target: CString,
        path: CString,
    },
    /// The answer is what the link says.
    ReadLink {
        path: CString,
    },
    /// Without a path, of the descriptor itself.
    SetTimes {
        path: Option<CString>,
        times: [Time; 2],
        flags: i32,
    },
}

/// Seconds and nanoseconds, as `utimensat` takes them.
pub type Time = (i64, i64);

pub type Answer = Result<(Vec<u8>, Option<OwnedFd>), Errno>;

/// Makes a call in whose place the signal came, with the directories its paths start from.
pub type Ask = fn(&Call, &[RawFd]) -> Answer;

static ASK: OnceLock<Ask> = OnceLock::new();

/// `SYS_SECCOMP` of asm-generic/siginfo.h: the signal is a filter's.
const BY_A_FILTER: c_int = 1;

/// From now on `ask` is asked. Unlike other handlers this one may allocate and lock: the signal comes
/// only at a system call with a path, and no allocator or lock makes one.
pub fn install(ask: Ask) -> Result<()> {
    ASK.get_or_init(|| ask);
    let handler = SigHandler::SigAction(on_trap);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches nothing but what the interrupted call names, as the kernel would.
    unsafe { sigaction(Signal::SIGSYS, &action) }.context("handle SIGSYS")?;
    Ok(())
}

extern "C" fn on_trap(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both, and nobody else refers to them while the handler runs.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    if info.si_code != BY_A_FILTER {
        super::exit_now(128 + number)
    }
    let before = Errno::last_raw();
    let call = Trapped::at(context);
    // SAFETY: the arguments are those of a call that the kernel would have made with them.
    let result = unsafe { call.make() }.unwrap_or_else(|errno| -(errno as c_long));
    Trapped::answer(context, result);
    Errno::set_raw(before);
}

struct Trapped {
    number: c_long,
    args: [u64; 6],
}

#[cfg(target_arch = "x86_64")]
impl Trapped {
    fn at(context: &libc::ucontext_t) -> Trapped {
        let register = |at: c_int| context.uc_mcontext.gregs[at as usize] as u64;
        let args = [
            libc::REG_RDI,
            libc::REG_RSI,
            libc::REG_RDX,
            libc::REG_R10,
            libc::REG_R8,
            libc::REG_R9,
        ];
        Trapped { number: register(libc::REG_RAX) as c_long, args: args.map(register) }
    }

    fn answer(context: &mut libc::ucontext_t, result: c_long) {
        context.uc_mcontext.gregs[libc::REG_RAX as usize] = result;
    }
}

#[cfg(target_arch = "aarch64")]
impl Trapped {
    fn at(context: &libc::ucontext_t) -> Trapped {
        let registers = &context.uc_mcontext.regs;
        Trapped { number: registers[8] as c_long, args: std::array::from_fn(|at| registers[at]) }
    }

    fn answer(context: &mut libc::ucontext_t, result: c_long) {
        context.uc_mcontext.regs[0] = result as u64;
    }
}

impl Trapped {
    /// # Safety
    /// The pointers among the arguments are what the call's documentation wants them to be.
    unsafe fn make(&self) -> Result<c_long, Errno> {
        // SAFETY: as promised.
        let (path, other) = unsafe { (|| self.path(1), || self.path(3)) };
        let (third, fourth) = (self.args[2], self.args[3]);
        let dir = self.args[0];
        match self.number {
            libc::SYS_openat => {
                let (flags, mode) = (third as i32, fourth as u32);
                ask(&Call::Open { path: path()?, flags, mode, resolve: 0 }, &[dir])
            }
            libc::SYS_openat2 => {
                // SAFETY: a `struct open_how`, whose first three numbers these are.
                let [flags, mode, resolve] = unsafe { self.read::<[u64; 3]>(2) }?;
                let (flags, mode) = (flags as i32, mode as u32);
                ask(&Call::Open { path: path()?, flags, mode, resolve }, &[dir])
            }
            // No path, and so nobody to ask.
            // SAFETY: as promised, here and in the next.
            libc::SYS_newfstatat if unsafe { self.is_empty_path(fourth) } => {
                // SAFETY: the caller has room for what this call answers.
                unsafe { self.put(2, stat::fstat(dir as RawFd)?) }
            }
            // SAFETY: see above.
            libc::SYS_statx if unsafe { self.is_empty_path(third) } => {
                // SAFETY: the same.
                unsafe { self.put(4, stat::extended(&stat::fstat(dir as RawFd)?)) }
            }
            libc::SYS_newfstatat => {
                let call = Call::Stat { path: path()?, flags: fourth as i32 };
                // SAFETY: the caller has room for what this call answers.
                unsafe { self.fill(2, size_of::<libc::stat>(), &call) }
            }
            libc::SYS_statx => {
                let call = Call::Statx { path: path()?, flags: third as i32, mask: fourth as u32 };
                // SAFETY: the same.
                unsafe { self.fill(4, size_of::<libc::statx>(), &call) }
            }
            libc::SYS_readlinkat => {
                // SAFETY: the same, as long as the caller says.
                unsafe { self.fill(2, fourth as usize, &Call::ReadLink { path: path()? }) }
            }
            libc::SYS_mkdirat => ask(&Call::MakeDir { path: path()?, mode: third as u32 }, &[dir]),
            libc::SYS_unlinkat => ask(&Call::Remove { path: path()?, flags: third as i32 }, &[dir]),
            libc::SYS_symlinkat => {
                // SAFETY: as promised.
                let (target, path) = unsafe { (self.path(0)?, self.path(2)?) };
                ask(&Call::SymLink { target, path }, &[self.args[1]])
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_renameat => {
                ask(&Call::Rename { from: path()?, to: other()?, flags: 0 }, &[dir, third])
            }
            libc::SYS_renameat2 => {
                let flags = self.args[4] as u32;
                ask(&Call::Rename { from: path()?, to: other()?, flags }, &[dir, third])
            }
            libc::SYS_linkat => {
                let flags = self.args[4] as i32;
                ask(&Call::Link { from: path()?, to: other()?, flags }, &[dir, third])
            }
            libc::SYS_utimensat => {
                let path = (self.args[1] != 0).then(path).transpose()?;
                const NOW: Time = (0, libc::UTIME_NOW);
                let times = match third {
                    0 => [NOW; 2],
                    // SAFETY: two `struct timespec`, which are two numbers each.
                    _ => unsafe { self.read::<[Time; 2]>(2) }?,
                };
                ask(&Call::SetTimes { path, times, flags: fourth as i32 }, &[dir])
            }
            _ => Err(Errno::ENOSYS),
        }
    }

    /// # Safety
    /// The argument is null or a path.
    unsafe fn path(&self, at: usize) -> Result<CString, Errno> {
        let pointer = self.args[at] as *const c_char;
        if pointer.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: not null, and so a path.
        Ok(unsafe { CStr::from_ptr(pointer) }.to_owned())
    }

    /// # Safety
    /// The second argument is null or a path.
    unsafe fn is_empty_path(&self, flags: u64) -> bool {
        // SAFETY: as promised.
        let empty = unsafe { self.path(1) }.is_ok_and(|path| path.is_empty());
        empty && flags as i32 & libc::AT_EMPTY_PATH != 0
    }

    /// # Safety
    /// The argument is null or points to so much room.
    unsafe fn put<T>(&self, at: usize, value: T) -> Result<c_long, Errno> {
        let place = self.args[at] as *mut T;
        if place.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: there is room for it, whatever its alignment is.
        unsafe { place.write_unaligned(value) };
        Ok(0)
    }

    /// # Safety
    /// The argument is null or points to so much.
    unsafe fn read<T: Copy>(&self, at: usize) -> Result<T, Errno> {
        let pointer = self.args[at] as *const T;
        if pointer.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: not null, and read whatever its alignment is.
        Ok(unsafe { pointer.read_unaligned() })
    }

    /// Asks, and copies no more than `room` bytes of the answer to where the caller wants them.
    ///
    /// # Safety
    /// The argument is null or points to so much room.
    unsafe fn fill(&self, at: usize, room: usize, call: &Call) -> Result<c_long, Errno> {
        let place = self.args[at] as *mut u8;
        if place.is_null() {
            return Err(Errno::EFAULT);
        }
        let (bytes, _) = make(call, &[self.args[0]])?;
        let length = bytes.len().min(room);
        // SAFETY: there is room for it, and the answer is memory of its own.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, length) };
        Ok(if matches!(call, Call::ReadLink { .. }) { length as c_long } else { 0 })
    }
}

fn ask(call: &Call, dirs: &[u64]) -> Result<c_long, Errno> {
    let (_, fd) = make(call, dirs)?;
    Ok(fd.map_or(0, IntoRawFd::into_raw_fd).into())
}

fn make(call: &Call, dirs: &[u64]) -> Answer {
    let dirs: Vec<RawFd> = dirs.iter().map(|dir| *dir as RawFd).collect();
    // There is no working directory here that anything could be found in.
    if dirs.contains(&libc::AT_FDCWD) {
        return Err(Errno::EACCES);
    }
    ASK.get().ok_or(Errno::ENOSYS)?(call, &dirs)
}
