//! System calls as an attacker makes them: by number, with any arguments.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

pub type Attempted = Result<(), String>;

/// The result, or the error's name.
pub fn call(number: i64, args: &[u64]) -> Result<i64, String> {
    let mut six = [0u64; 6];
    six[..args.len()].copy_from_slice(args);
    let [a, b, c, d, e, f] = six;
    // SAFETY: none; this process exists to misbehave, and shares nothing that matters.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(result).map_err(|error| format!("{error:?}"))
}

/// Whether the call succeeds.
pub fn works(number: i64, args: &[u64]) -> Attempted {
    call(number, args).map(drop)
}

/// Whether the kernel does the call at all: any answer but "you may not" and "there is no such".
pub fn is_heard(number: i64, args: &[u64]) -> Attempted {
    match call(number, args) {
        Err(error) if error == "EPERM" || error == "EACCES" || error == "ENOSYS" => Err(error),
        _ => Ok(()),
    }
}

pub fn text(text: &std::ffi::CStr) -> u64 {
    text.as_ptr() as u64
}

pub fn number(fd: &OwnedFd) -> u64 {
    fd.as_raw_fd() as u64
}

pub const CURRENT_DIR: u64 = libc::AT_FDCWD as u64;

/// `getpid` the 32-bit way.
#[cfg(target_arch = "x86_64")]
pub fn int_80() -> Attempted {
    let result: i64;
    // SAFETY: none needed: system call 20 of the 32-bit table takes and writes nothing.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20i64 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if result > 0 { Ok(()) } else { Err(format!("{result}")) }
}

/// Machine code for "return 42".
const CODE: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];
const PAGE: u64 = 4096;
const READ: u64 = libc::PROT_READ as u64;
const WRITE: u64 = libc::PROT_WRITE as u64;
const EXEC: u64 = libc::PROT_EXEC as u64;
const ANONYMOUS: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
const NO_FILE: u64 = u64::MAX;

fn map(protection: u64, flags: u64, fd: u64) -> Result<u64, String> {
    call(libc::SYS_mmap, &[0, PAGE, protection, flags, fd, 0]).map(|start| start as u64)
}

fn put(at: u64) {
    // SAFETY: a page this file has just mapped writable.
    unsafe { std::ptr::copy_nonoverlapping(CODE.as_ptr(), at as *mut u8, CODE.len()) }
}

fn execute(at: u64) -> Attempted {
    // SAFETY: the page holds `CODE`, which follows the C calling convention.
    let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(at as *const u8) };
    if function() == 42 { Ok(()) } else { Err("wrong answer".to_owned()) }
}

pub fn write_then_make_executable() -> Attempted {
    let page = map(READ | WRITE, ANONYMOUS, NO_FILE)?;
    put(page);
    works(libc::SYS_mprotect, &[page, PAGE, READ | EXEC])?;
    execute(page)
}

pub fn writable_and_executable() -> Attempted {
    let page = map(READ | WRITE | EXEC, ANONYMOUS, NO_FILE)?;
    put(page);
    execute(page)
}

pub fn anonymous_executable() -> Attempted {
    map(READ | EXEC, ANONYMOUS, NO_FILE).map(drop)
}

/// The file has `before` bytes already.
pub fn executable_file(fd: &OwnedFd, before: u64) -> Attempted {
    nix::unistd::write(fd, &CODE).map_err(|error| format!("{error:?}"))?;
    execute(map(READ | EXEC, libc::MAP_PRIVATE as u64, number(fd))? + before)
}

pub fn shared_and_writable(fd: &OwnedFd) -> Attempted {
    let page = map(READ | WRITE, libc::MAP_SHARED as u64, number(fd))?;
    put(page);
    Ok(())
}
