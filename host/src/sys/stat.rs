//! What a file is; by path as the bytes in which the kernel says it, for another process to hand on.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

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

/// What an open file is. This call takes no path, not even an empty one.
pub fn fstat(fd: RawFd) -> Result<libc::stat, Errno> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills one `struct stat`; a number that is not open is an error.
    let result = unsafe { libc::syscall(libc::SYS_fstat, fd, found.as_mut_ptr()) };
    Errno::result(result)?;
    // SAFETY: filled, as the call succeeded.
    Ok(unsafe { found.assume_init() })
}

/// The same as `statx` would say it, without the time a file was made.
pub fn extended(found: &libc::stat) -> libc::statx {
    // SAFETY: a structure of numbers, all of which may be zero.
    let mut all: libc::statx = unsafe { MaybeUninit::zeroed().assume_init() };
    let time = |seconds: i64, nanos: i64| {
        let mut time = all.stx_atime;
        (time.tv_sec, time.tv_nsec) = (seconds, nanos as u32);
        time
    };
    let times = [
        time(found.st_atime, found.st_atime_nsec),
        time(found.st_mtime, found.st_mtime_nsec),
        time(found.st_ctime, found.st_ctime_nsec),
    ];
    [all.stx_atime, all.stx_mtime, all.stx_ctime] = times;
    all.stx_mask = libc::STATX_BASIC_STATS;
    all.stx_blksize = found.st_blksize as u32;
    all.stx_nlink = found.st_nlink as u32;
    (all.stx_uid, all.stx_gid) = (found.st_uid, found.st_gid);
    all.stx_mode = found.st_mode as u16;
    all.stx_ino = found.st_ino;
    all.stx_size = found.st_size as u64;
    all.stx_blocks = found.st_blocks as u64;
    (all.stx_dev_major, all.stx_dev_minor) = (libc::major(found.st_dev), libc::minor(found.st_dev));
    let device = found.st_rdev;
    (all.stx_rdev_major, all.stx_rdev_minor) = (libc::major(device), libc::minor(device));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn both_ways_to_ask_say_the_same_of_a_file() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let own = fstat(file.as_raw_fd()).unwrap();
        let plain = stat(file.as_fd(), c"", libc::AT_EMPTY_PATH).unwrap();
        // SAFETY: what the kernel wrote, of this size.
        let plain: libc::stat = unsafe { plain.as_ptr().cast::<libc::stat>().read_unaligned() };
        assert_eq!((own.st_ino, own.st_size), (plain.st_ino, plain.st_size));
        let mask = libc::STATX_BASIC_STATS;
        let more = statx(file.as_fd(), c"", libc::AT_EMPTY_PATH, mask).unwrap();
        // SAFETY: the same.
        let more: libc::statx = unsafe { more.as_ptr().cast::<libc::statx>().read_unaligned() };
        let ours = extended(&own);
        let numbers = |all: &libc::statx| {
            let time = |time: libc::statx_timestamp| (time.tv_sec, time.tv_nsec);
            let times = [time(all.stx_atime), time(all.stx_mtime), time(all.stx_ctime)];
            let who = (all.stx_mode, all.stx_uid, all.stx_gid, all.stx_nlink, all.stx_ino);
            let size = (all.stx_size, all.stx_blocks, all.stx_blksize);
            let device = (all.stx_dev_major, all.stx_dev_minor);
            (times, who, size, device, (all.stx_rdev_major, all.stx_rdev_minor))
        };
        assert_eq!(numbers(&ours), numbers(&more));
    }
}
