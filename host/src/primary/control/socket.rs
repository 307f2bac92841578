//! The socket file: made where others cannot get in between, removed by whoever made it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, chown, geteuid};
use tokio::net::UnixStream;

use crate::config::{Config, Control};
use crate::control::place;

pub struct Socket {
    pub name: String,
    path: PathBuf,
    /// Where it is to be once it may.
    place: Option<PathBuf>,
    /// Device and inode: a successor may have put its own file there.
    file: (u64, u64),
    listener: Option<UnixListener>,
}

/// Names tried after the one that is taken.
const FURTHER: u32 = 64;

impl Socket {
    /// `None` if the host is not to have one. Under a name nobody chose, a free one is found.
    pub fn open(config: &Config) -> Result<Option<Socket>> {
        let directory = match &config.control {
            Control::Off => return Ok(None),
            Control::At(path) => {
                let bound = bind(path)?
                    .with_context(|| format!("{}: a host runs there", path.display()))?;
                return Ok(Some(Socket::new(config.name.clone(), path.clone(), bound)?));
            }
            Control::Usual => place::directory(),
        };
        place::prepare(&directory)?;
        let further = if config.name_given { 0 } else { FURTHER };
        let names = (2..2 + further).map(|n| format!("{}-{n}", config.name));
        for name in std::iter::once(config.name.clone()).chain(names) {
            let path = place::socket(&directory, &name);
            if let Some(bound) = bind(&path)? {
                return Ok(Some(Socket::new(name, path, bound)?));
            }
        }
        bail!("a host named {} is running already", config.name)
    }

    /// One that takes the place of another host's when `move_in` is called.
    pub fn later(name: String, path: PathBuf) -> Result<Socket> {
        let temporary = temporary(&path, std::process::id());
        let bound = bind(&temporary)?.context("the name is taken")?;
        let mut socket = Socket::new(name, temporary, bound)?;
        socket.place = Some(path);
        Ok(socket)
    }

    /// From now on who asks for the name finds us.
    pub fn move_in(&mut self) -> Result<()> {
        let Some(place) = self.place.take() else { return Ok(()) };
        std::fs::rename(&self.path, &place)
            .with_context(|| format!("put {} in place", place.display()))?;
        self.path = place;
        Ok(())
    }

    fn new(name: String, path: PathBuf, listener: UnixListener) -> Result<Socket> {
        let meta = std::fs::symlink_metadata(&path).context("stat control socket")?;
        let file = (meta.dev(), meta.ino());
        Ok(Socket { name, path, place: None, file, listener: Some(listener) })
    }

    /// What a successor that did not get far has left.
    pub fn remove_of(&self, pid: u32) {
        let _ = std::fs::remove_file(temporary(&self.path, pid));
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the user the host is about to become; needs the rights of the one it still is.
    pub fn give_to(&self, user: Uid) {
        let _ = chown(&self.path, Some(user), None);
    }

    /// The listener, for the task that accepts.
    pub fn take_listener(&mut self) -> Result<tokio::net::UnixListener> {
        let listener = self.listener.take().context("the control socket is in use")?;
        tokio::net::UnixListener::from_std(listener).context("watch control socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn temporary(path: &Path, pid: u32) -> PathBuf {
    path.with_extension(format!("{pid}.new"))
}

/// `None` if somebody answers there already. A file nobody answers at is replaced.
fn bind(path: &Path) -> Result<Option<UnixListener>> {
    use std::io::ErrorKind;
    let shown = path.display();
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            match std::os::unix::net::UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).with_context(|| format!("remove stale {shown}"))?;
                    UnixListener::bind(path)
                }
                _ => return Ok(None),
            }
        }
        other => other,
    };
    let listener = listener.with_context(|| format!("bind {shown}"))?;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, private).with_context(|| format!("chmod {shown}"))?;
    listener.set_nonblocking(true).context("set non-blocking")?;
    Ok(Some(listener))
}

/// The mode of the file keeps others out; this holds where that is not checked.
pub fn may_talk(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0)
}
