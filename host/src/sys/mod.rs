//! The raw system calls: start a child by clone + exec of ourselves, pidfds, sealed memfds, shared
//! pages, descriptors over sockets, process titles. All `unsafe` of the program lives here and in
//! the one call that loads an artifact.

pub mod alloc;
mod fork;
mod memory;
pub mod mounts;
mod socket;
mod spawn;
pub mod stat;
pub mod trap;
pub mod usage;
pub mod walls;

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

pub use fork::{Forked, clone_into, fork, pid_of};
#[cfg(test)]
pub use memory::is_sealed;
pub use memory::{FileMap, SharedMap, memfd, seal, sealed_memfd, sized_memfd};
pub use socket::{
    accept, channel_pair, drop_all_packets, recv_with_fds, recv_with_fds_waiting, send_with_fds,
    send_with_fds_waiting, tcp_consumed,
};
pub use spawn::{Child, IdMaps, Spawn, spawn, user_namespace};

pub const PAGE: usize = 4096;
/// The descriptor a child finds its control channel on.
pub const CHANNEL_FD: RawFd = 3;
/// Descriptors one frame may carry.
pub const MAX_FDS: usize = 16;

/// Takes over a descriptor the parent put in place before exec.
pub fn adopt_fd(fd: RawFd) -> Result<OwnedFd> {
    fcntl(
        // SAFETY: only borrowed for this call, which fails cleanly if it is not open.
        unsafe { BorrowedFd::borrow_raw(fd) },
        FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )
    .with_context(|| format!("descriptor {fd}"))?;
    // SAFETY: called once per inherited number at start-up, before anything else is opened there.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Overwrites this process's argument area, which is what `ps` shows, and its short name.
pub fn set_title(title: &str) {
    let Some((start, length)) = argument_area() else {
        return;
    };
    if length < 2 {
        return;
    }
    let keep = title.len().min(length - 1);
    let bytes = &title.as_bytes()[..keep];
    // SAFETY: the kernel names this range as our own argument strings, which Rust copied before
    // main; it stays mapped and writable for the life of the process, and no one else writes it.
    unsafe {
        let area = std::slice::from_raw_parts_mut(start as *mut u8, length);
        area[..keep].copy_from_slice(bytes);
        area[keep..].fill(0);
    }
    let short = title.replace(": ", "-");
    let short: String = short.chars().filter(char::is_ascii_graphic).take(15).collect();
    if let Ok(name) = CString::new(short) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Found once, while /proc can still be read: the sandbox takes it away.
fn argument_area() -> Option<(usize, usize)> {
    static AREA: std::sync::OnceLock<Option<(usize, usize)>> = std::sync::OnceLock::new();
    *AREA.get_or_init(|| {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field may hold spaces; what follows its closing bracket is field 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let start: usize = fields.get(48 - 3)?.parse().ok()?;
        let end: usize = fields.get(49 - 3)?.parse().ok()?;
        (start != 0).then_some((start, end.checked_sub(start)?))
    })
}

/// Whether this process was started as a child: its title, its role and its walls.
pub fn role_arguments(args: &[std::ffi::OsString]) -> Option<(&str, &str, &str)> {
    match args {
        [title, role, walls] if title.to_str()?.starts_with("host: ") => {
            Some((title.to_str()?.trim_end(), role.to_str()?, walls.to_str()?))
        }
        _ => None,
    }
}

/// Resident memory of a process in bytes.
pub fn resident_memory(pid: i32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE as u64)
}

/// Reads the signals name for messages: `SIGKILL`, or its number.
pub fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

/// The end of this process, without any of the tidying that ends one in order.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes a number and does not come back.
    unsafe { libc::_exit(code) }
}

/// Reads into the room a buffer has, without clearing it first.
pub fn read_into(fd: BorrowedFd<'_>, buffer: &mut bytes::BytesMut) -> Result<usize, Errno> {
    let room = buffer.spare_capacity_mut();
    // SAFETY: the kernel writes into this room only, which is ours and as large as stated.
    let read = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
    let length = Errno::result(read)? as usize;
    // SAFETY: the kernel has just initialized so many bytes of it.
    unsafe { buffer.set_len(buffer.len() + length) };
    Ok(length)
}

/// The machine's monotonic clock, which all processes agree on.
pub fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the structure it is given; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Puts a descriptor under the event loop's eyes.
pub fn watch(
    fd: OwnedFd,
    interest: tokio::io::Interest,
) -> std::io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, and the `AsyncFd`
    // now owns it.
    unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, interest) }
        .map_err(std::io::Error::from)
}

/// A number the caller knows to be open for as long as it uses this.
pub fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for the fixed numbers of standard streams and channel, which a child holds for
    // its whole life.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
