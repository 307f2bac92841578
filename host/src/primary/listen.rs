//! Opens what `--listen` names and accepts from it. An accept error is logged and waited out; it
//! never ends the server.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;

use tokio::sync::{mpsc, watch};

use super::accepted::Accepted;
use super::output::Output;
use crate::config::ListenSpec;
use crate::ipc::message::Ends;
use crate::sys;

/// An open listener and the words for it.
pub struct Listener {
    pub fd: OwnedFd,
    pub address: Address,
    /// The socket file to remove when we are done, if we made it.
    unlink: Option<PathBuf>,
    /// Opened by somebody before us, who may go on using it.
    inherited: bool,
}

impl Listener {
    /// Lets no further client in, without closing: what the kernel has already completed can still
    /// be accepted, and nobody completes a connection that would then be reset.
    pub fn retire(&mut self) {
        if let Some(path) = self.unlink.take() {
            let _ = std::fs::remove_file(path);
        } else if !self.inherited {
            // Not everybody may; then the way from the last accept to the end is short at least.
            let _ = sys::drop_all_packets(&self.fd);
        }
    }

    /// Listens no more, though tasks and workers may hold copies of the descriptor for a while.
    pub fn end(&self) {
        if !self.inherited {
            let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Read);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl Listener {
    /// One that another process opened.
    pub fn left(
        fd: OwnedFd,
        address: Address,
        unlink: Option<PathBuf>,
        inherited: bool,
    ) -> Listener {
        Listener { fd, address, unlink, inherited }
    }

    /// Whether a service manager or the like may go on using it.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The socket file we made, if any.
    pub fn made(&self) -> Option<&PathBuf> {
        self.unlink.as_ref()
    }

    /// The socket file we made, which from now on is another's to remove.
    pub fn disown(&mut self) -> Option<PathBuf> {
        self.unlink.take()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.unlink {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Opens one listener; with `reuse_port`, further ones may share its address.
pub fn open(spec: &ListenSpec, backlog: i32, reuse_port: bool) -> Result<Listener> {
    match spec {
        ListenSpec::Tcp { host, port } => {
            let name = if host.is_empty() { "0.0.0.0" } else { host };
            let shown = spec_text(spec);
            let address = (name, *port)
                .to_socket_addrs()
                .with_context(|| format!("resolve {shown}"))?
                .next()
                .with_context(|| format!("resolve {shown}: no address"))?;
            open_tcp(address, backlog, reuse_port)
        }
        ListenSpec::Unix { path, mode } => open_unix(path, *mode, backlog),
        ListenSpec::Fd(number) => inherit(*number),
    }
}

fn spec_text(spec: &ListenSpec) -> String {
    match spec {
        ListenSpec::Tcp { host, port } => format!("{host}:{port}"),
        ListenSpec::Unix { path, .. } => format!("unix:{}", path.display()),
        ListenSpec::Fd(number) => format!("fd://{number}"),
    }
}

pub fn open_tcp(address: SocketAddr, backlog: i32, reuse_port: bool) -> Result<Listener> {
    let bind = || -> std::io::Result<(Socket, SocketAddr)> {
        let mut socket = bound(address, reuse_port)?;
        let actual = socket.local_addr()?.as_socket().unwrap_or(address);
        if address.port() == 0 {
            // A port the kernel chose is lost when the listener is shut for a while; one we name is kept.
            socket = bound(actual, reuse_port)?;
        }
        socket.listen(backlog)?;
        Ok((socket, actual))
    };
    let (socket, bound) = bind().with_context(|| format!("bind {address}"))?;
    Ok(Listener { fd: socket.into(), address: Address::Tcp(bound), unlink: None, inherited: false })
}

fn bound(address: SocketAddr, reuse_port: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Accepted connections inherit it, which saves a call on each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open_unix(path: &PathBuf, mode: Option<u32>, backlog: i32) -> Result<Listener> {
    let shown = path.display();
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).context("create Unix socket")?;
    let address = SockAddr::unix(path).with_context(|| format!("bind unix:{shown}"))?;
    if socket.bind(&address).is_err() {
        remove_stale(path, &address)?;
        socket.bind(&address).with_context(|| format!("bind unix:{shown}"))?;
    }
    if let Some(mode) = mode {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, permissions).with_context(|| format!("chmod {shown}"))?;
    }
    socket.set_nonblocking(true).context("set non-blocking")?;
    socket.listen(backlog).with_context(|| format!("listen on unix:{shown}"))?;
    Ok(Listener {
        fd: socket.into(),
        address: Address::Unix(path.clone()),
        unlink: Some(path.clone()),
        inherited: false,
    })
}

/// Removes a socket file that nobody answers on any more, and only such a file.
fn remove_stale(path: &PathBuf, address: &SockAddr) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).context("create Unix socket")?;
    if is_socket
        && probe.connect(address).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn inherit(number: i32) -> Result<Listener> {
    let shown = || format!("--listen fd://{number}");
    ensure!(number > 2, "{}: 0, 1 and 2 are the standard streams", shown());
    let socket = Socket::from(sys::adopt_fd(number).with_context(shown)?);
    let listening = socket.is_listener().with_context(shown)?;
    ensure!(listening, "{}: not a listening socket", shown());
    socket.set_nonblocking(true).with_context(shown)?;
    let local = socket.local_addr().with_context(shown)?;
    let address = match (local.as_socket(), local.as_pathname()) {
        (Some(address), _) => {
            let _ = socket.set_tcp_nodelay(true);
            Address::Tcp(address)
        }
        (None, Some(path)) => Address::Unix(path.to_owned()),
        (None, None) => Address::Unix("(unnamed)".into()),
    };
    Ok(Listener { fd: socket.into(), address, unlink: None, inherited: true })
}

/// What an accept loop needs to know.
pub struct Acceptor {
    pub listener: OwnedFd,
    pub local: Option<SocketAddr>,
    pub only: Option<super::WorkerId>,
    pub open: watch::Receiver<bool>,
    pub pool: super::PoolId,
    pub out: mpsc::Sender<(super::PoolId, Accepted)>,
    pub output: Output,
}

impl Acceptor {
    /// Accepts whenever the gate is open, until the receiver or the gate is gone.
    pub async fn run(mut self) -> Result<()> {
        let listener =
            sys::watch(self.listener.try_clone()?, Interest::READABLE).context("watch listener")?;
        loop {
            if self.open.wait_for(|open| *open).await.is_err() {
                return Ok(());
            }
            let permit = match self.out.reserve().await {
                Ok(permit) => permit,
                Err(_) => return Ok(()),
            };
            let mut ready = tokio::select! {
                ready = listener.readable() => ready.context("wait for listener")?,
                _ = self.open.changed() => continue,
            };
            match sys::accept(listener.as_fd()) {
                Ok((fd, peer)) => {
                    let local = local_address(&fd, self.local);
                    let ends = Ends { peer, local, ..Ends::default() };
                    permit.send((self.pool, Accepted::fresh(fd, ends, self.only)));
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // It listens no more: the host stops.
                Err(Errno::EINVAL) => return Ok(()),
                Err(error) => {
                    drop((permit, ready));
                    self.wait_out(error).await;
                }
            }
        }
    }

    /// Out of descriptors or memory: others may free some. Anything else was that client's matter.
    async fn wait_out(&self, error: Errno) {
        match error {
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => {
                self.output.log(&format!("accept: {}; trying again", error.desc()));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            _ => {}
        }
    }
}

/// The listener's own address, unless it listens on all of them.
fn local_address(connection: &OwnedFd, listener: Option<SocketAddr>) -> Option<SocketAddr> {
    match listener {
        Some(address) if address.ip().is_unspecified() => socket2::SockRef::from(connection)
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket()),
        other => other,
    }
}
