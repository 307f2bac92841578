//! What a file is, as the bytes in which the kernel says it: another process hands them on.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

pub fn stat(dir: BorrowedFd<'_>, path: &CStr, flags: i32) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size_of::<libc::stat>()];
    // SAFETY: the kernel fills one `struct stat`, which is what there is room for; it copies bytes
    // and asks for no alignment.
    let result = unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            dir.as_raw_fd(),
            path.as_ptr(),
            bytes.as_mut_ptr(),
            flags,
        )
    };
    Errno::result(result).map(|_| bytes)
}

pub fn statx(dir: BorrowedFd<'_>, path: &CStr, flags: i32, mask: u32) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size_of::<libc::statx>()];
    // SAFETY: the kernel fills one `struct statx`, which is what there is room for; it copies bytes
    // and asks for no alignment.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            mask,
            bytes.as_mut_ptr(),
        )
    };
    Errno::result(result).map(|_| bytes)
}
