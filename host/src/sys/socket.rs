//! Sockets, and descriptors that travel over them.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use super::MAX_FDS;

/// A connected pair whose messages keep their borders and carry descriptors.
pub fn channel_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .context("create channel")
}

pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> Result<usize, Errno> {
    send(socket, bytes, fds, MsgFlags::MSG_DONTWAIT)
}

/// The same for a socket that blocks.
pub fn send_with_fds_waiting(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[RawFd],
) -> Result<usize, Errno> {
    uninterrupted(|| send(socket, bytes, fds, MsgFlags::empty()))
}

fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[RawFd],
    flags: MsgFlags,
) -> Result<usize, Errno> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)
}

fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

type Received = Option<(usize, Vec<OwnedFd>)>;

/// Receives one message into `buffer`; `None` when the peer is gone. A message that does not fit,
/// or brings more than `MAX_FDS` descriptors, is an error and its descriptors are closed.
pub fn recv_with_fds(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    receive(socket, buffer, MsgFlags::MSG_DONTWAIT)
}

/// The same for a socket that blocks.
pub fn recv_with_fds_waiting(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    uninterrupted(|| receive(socket, buffer, MsgFlags::empty()))
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: MsgFlags) -> Result<Received, Errno> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
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

/// How many bytes of a TCP connection its readers have taken from the kernel so far, over all
/// processes that hold it; `None` for other sockets.
pub fn tcp_consumed(connection: &impl AsFd) -> Option<u64> {
    // More may arrive while we look.
    const LOOKS: usize = 100;
    (0..LOOKS).find_map(|_| {
        let before = tcp_received(connection);
        let unread = unread(connection)?;
        match before == tcp_received(connection) {
            true => Some(before.and_then(|received| received.checked_sub(unread))),
            false => None,
        }
    })?
}

fn tcp_received(connection: &impl AsFd) -> Option<u64> {
    let fd = connection.as_fd().as_raw_fd();
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let at = info.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than the length stated.
    let told = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &mut length) };
    Errno::result(told).ok()?;
    // SAFETY: all zero before the kernel wrote, and every bit pattern is one of its numbers.
    let info = unsafe { info.assume_init() };
    // The end of the stream counts as a byte here, but never as unread.
    const CLOSE_WAIT: u8 = 8;
    info.tcpi_bytes_received.checked_sub(u64::from(info.tcpi_state == CLOSE_WAIT))
}

fn unread(connection: &impl AsFd) -> Option<u64> {
    let mut unread: libc::c_int = 0;
    // SAFETY: stores one int.
    let told =
        unsafe { libc::ioctl(connection.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut unread) };
    Errno::result(told).ok()?;
    u64::try_from(unread).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn what_was_read_of_a_connection_is_known_even_after_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(tcp_consumed(&server), Some(0));
        client.write_all(b"twelve bytes").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        server.peek(&mut [0]).unwrap();
        assert_eq!(tcp_consumed(&server), Some(0));
        server.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(tcp_consumed(&server), Some(5));
        server.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(tcp_consumed(&server), Some(12));
        let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(tcp_consumed(&pair), None);
    }
}
