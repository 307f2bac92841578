//! Memory shared with other processes: sealed memfds and maps of them.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::PAGE;

/// A memfd of fixed size that can be written but neither grown nor shrunk.
pub fn sized_memfd(name: &str, size: usize) -> Result<OwnedFd> {
    let fd = memfd(name)?;
    nix::unistd::ftruncate(&fd, size as i64).context("size memfd")?;
    add_seals(&fd, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL)?;
    Ok(fd)
}

/// An empty memfd that can still be sealed.
pub fn memfd(name: &str) -> Result<OwnedFd> {
    let name = CString::new(name).context("name memfd")?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    memfd_create(name.as_c_str(), flags).context("create memfd")
}

/// A memfd with these bytes that nobody, its maker included, can change again.
pub fn sealed_memfd(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let fd = memfd(name)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = nix::unistd::write(&fd, rest).context("fill memfd")?;
        rest = &rest[written..];
    }
    seal(&fd)?;
    Ok(fd)
}

fn add_seals(fd: &impl AsFd, seals: SealFlag) -> Result<()> {
    while_busy(|| fcntl(fd, FcntlArg::F_ADD_SEALS(seals))).context("seal memfd")?;
    Ok(())
}

/// Of a page just written the kernel itself may still hold a reference, and then gives up after 75 ms. With a
/// writable mapping it gives up at once, each time.
fn while_busy<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    const TRIES: usize = 8;
    let busy = |result: &nix::Result<T>| matches!(result, Err(Errno::EBUSY));
    for _ in 1..TRIES {
        let result = call();
        if !busy(&result) {
            return result;
        }
    }
    call()
}

/// Makes a memfd immutable; fails while a writable mapping of it exists.
pub fn seal(fd: &impl AsFd) -> Result<()> {
    add_seals(fd, SealFlag::all_of_them())
}

trait AllSeals {
    fn all_of_them() -> SealFlag;
}
impl AllSeals for SealFlag {
    fn all_of_them() -> SealFlag {
        SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SEAL
    }
}

pub fn is_sealed(fd: &impl AsFd) -> bool {
    fcntl(fd, FcntlArg::F_GET_SEALS)
        .is_ok_and(|bits| SealFlag::from_bits_truncate(bits).contains(SealFlag::all_of_them()))
}

/// A whole file mapped read-only.
pub struct FileMap(NonNull<u8>, usize);

impl FileMap {
    /// Maps a sealed memfd; refuses anything whose bytes or length could change under the map.
    pub fn sealed(fd: &impl AsFd) -> Result<FileMap> {
        ensure!(is_sealed(fd), "map memfd: it is not sealed");
        let size = nix::sys::stat::fstat(fd).context("stat memfd")?.st_size as usize;
        let length = std::num::NonZeroUsize::new(size).context("map memfd: it is empty")?;
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        // SAFETY: a fresh private read-only mapping chosen by the kernel; the seals checked above
        // keep its bytes and length as they are for as long as it lives.
        let start =
            unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, fd, 0) }
                .context("map memfd")?;
        Ok(FileMap(start.cast(), size))
    }
}

impl std::ops::Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `sealed` mapped exactly this range and nothing unmaps it before drop.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.1) }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: the range `sealed` mapped; no slice of it outlives `self`.
        let _ = unsafe { nix::sys::mman::munmap(self.0.cast(), self.1) };
    }
}

/// One page shared between processes, seen as a `T` made of atomics.
pub struct SharedMap<T> {
    start: NonNull<T>,
}

// SAFETY: `T` is only reached through `&T` and is `Sync` by the bound, so any thread may hold it.
unsafe impl<T: Sync> Send for SharedMap<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedMap<T> {}

impl<T: Sync> SharedMap<T> {
    pub fn new(fd: BorrowedFd<'_>) -> Result<SharedMap<T>> {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        ensure!(size_of::<T>() <= PAGE, "shared page: type too large");
        let size = nix::sys::stat::fstat(fd).context("stat shared page")?.st_size;
        ensure!(size as usize == PAGE, "shared page: {size} bytes");
        let length = std::num::NonZeroUsize::new(PAGE).context("page size")?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh shared mapping chosen by the kernel; `sized_memfd` sealed its length.
        let start = unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED, fd, 0) }
            .context("map shared page")?;
        Ok(SharedMap { start: start.cast() })
    }

    pub fn get(&self) -> &T {
        // SAFETY: mapped for at least `size_of::<T>()` bytes, page-aligned, zero or written through
        // the same `T`; every bit pattern of its atomics is valid, and they tolerate other writers.
        unsafe { self.start.as_ref() }
    }
}

impl<T> Drop for SharedMap<T> {
    fn drop(&mut self) {
        // SAFETY: the page `new` mapped; `get` ties every reference to `self`.
        let _ = unsafe { nix::sys::mman::munmap(self.start.cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_busy_is_tried_again_but_not_for_ever() {
        let busy_for = |times: usize| {
            let mut calls = 0;
            while_busy(|| {
                calls += 1;
                if calls > times { Ok(calls) } else { Err(Errno::EBUSY) }
            })
        };
        assert_eq!(busy_for(0), Ok(1));
        assert_eq!(busy_for(3), Ok(4));
        assert_eq!(busy_for(usize::MAX), Err(Errno::EBUSY));
        assert_eq!(while_busy::<()>(|| Err(Errno::EPERM)), Err(Errno::EPERM));
    }
}
