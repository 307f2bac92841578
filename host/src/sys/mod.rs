//! The raw system calls: start a child by clone + exec of ourselves, pidfds, sealed memfds, shared
//! pages, descriptors over sockets, process titles. All `unsafe` of the program lives here and in
//! the one call that loads an artifact.

pub mod alloc;
mod fork;
pub mod mounts;
mod spawn;
pub mod walls;

use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

pub use fork::{Forked, clone_into, fork, pid_of};
pub use spawn::{Child, IdMaps, Spawn, spawn, user_namespace};

pub const PAGE: usize = 4096;
/// The descriptor a child finds its control channel on.
pub const CHANNEL_FD: RawFd = 3;
/// Descriptors one frame may carry.
pub const MAX_FDS: usize = 16;

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
    fcntl(fd, FcntlArg::F_ADD_SEALS(seals)).context("seal memfd")?;
    Ok(())
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

/// A connected pair whose messages keep their borders and carry descriptors.
pub fn channel_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .context("create channel")
}

/// A connected pair for streams of bytes, non-blocking.
pub fn stream_pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::Stream, None, flags).context("create message line")
}

pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> Result<usize, Errno> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)
}

/// Receives one message into `buffer`; `None` when the peer is gone. A message that does not fit,
/// or brings more than `MAX_FDS` descriptors, is an error and its descriptors are closed.
pub fn recv_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Option<(usize, Vec<OwnedFd>)>, Errno> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    if let Ok(controls) = message.cmsgs() {
        for control in controls {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just installed these descriptors for us alone.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
    }
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    if message.bytes == 0 && fds.is_empty() {
        return Ok(None);
    }
    Ok(Some((message.bytes, fds)))
}

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

/// Accepts one connection, non-blocking and close-on-exec, with its peer if that is an IP address.
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<std::net::SocketAddr>), Errno> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the closure gives accept4 the storage and its true length, which it fills; the
    // descriptor it returns is ours alone.
    let accepted = unsafe {
        socket2::SockAddr::try_init(|storage, length| {
            match libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) {
                -1 => Err(std::io::Error::last_os_error()),
                fd => Ok(OwnedFd::from_raw_fd(fd)),
            }
        })
    };
    match accepted {
        Ok((fd, address)) => Ok((fd, address.as_socket())),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
    }
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

/// Makes a listening TCP socket deaf: a filter that keeps nothing of any packet.
pub fn drop_all_packets(listener: &impl AsFd) -> std::io::Result<()> {
    let mut keep_nothing =
        [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: keep_nothing.as_mut_ptr() };
    // SAFETY: the kernel copies the program, of the length stated, during the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A number the caller knows to be open for as long as it uses this.
pub fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for the fixed numbers of standard streams and channel, which a child holds for
    // its whole life.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
