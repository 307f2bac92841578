//! What surrounds an escape attempt: the layers it meets, and the things it may try to reach.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, bail};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use crate::attempts::ATTEMPTS;
use crate::sandbox::probe::Found;
use crate::sandbox::seccomp::{self, Files};
use crate::sandbox::{self, Role, Walls, identity, landlock, namespaces, rlimits, root};
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layer {
    Nothing,
    Namespaces,
    Identity,
    Landlock,
    Limits,
    NoNewCode,
    /// The filter for good.
    Seccomp,
    /// The filter while an artifact is loaded.
    SeccompLoading,
    /// No wall: the thing tried is sealed.
    Seals,
    Worker,
    /// A worker that has entered its walls and is loading.
    Loading,
    Compiler,
}

impl Layer {
    fn walls(self, found: &Found) -> Walls {
        match self {
            Layer::Namespaces | Layer::Worker | Layer::Loading | Layer::Compiler => found.walls,
            Layer::Identity | Layer::Limits => Walls { uid: found.walls.uid, ..Walls::default() },
            _ => Walls::default(),
        }
    }

    fn build(self, walls: Walls) -> Result<()> {
        match self {
            Layer::Nothing | Layer::Seals => Ok(()),
            Layer::Namespaces => root::leave_for_an_empty_one(),
            Layer::Identity => {
                identity::drop_to(walls.uid)?;
                identity::pin(sys::CHANNEL_FD)
            }
            Layer::Landlock => landlock::restrict(&[]).map(drop),
            Layer::Limits => {
                // The kernel does not count the processes of root.
                identity::drop_to(walls.uid)?;
                rlimits::before_load(Role::Compiler)?;
                rlimits::after_load(Files::None)
            }
            Layer::NoNewCode => sys::walls::refuse_new_code().map(drop),
            Layer::Seccomp => {
                seccomp::install_first(Role::Worker, Files::None)?;
                seccomp::install_second(Files::None)
            }
            Layer::SeccompLoading => seccomp::install_first(Role::Worker, Files::None),
            Layer::Worker => sandbox::seal(sandbox::enter(Role::Worker, walls, &[])?).map(drop),
            Layer::Loading => sandbox::enter(Role::Worker, walls, &[]).map(drop),
            Layer::Compiler => sandbox::enter(Role::Compiler, walls, &[]).map(drop),
        }
    }
}

/// What the attacker knows and holds. Real workers hold far less.
pub struct World {
    pub parent: i32,
    pub port: u16,
    pub abstract_name: String,
    pub tcp: OwnedFd,
    pub udp: OwnedFd,
    pub listener: OwnedFd,
    pub file: OwnedFd,
}

#[derive(Serialize, Deserialize)]
struct Order {
    attempt: usize,
    layer: Layer,
    parent: i32,
    port: u16,
    abstract_name: String,
}

/// Held by the parent: the other ends.
pub struct Outside {
    listener: TcpListener,
    abstract_name: String,
    _abstract: UnixListener,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Worked,
    Failed(String),
    Killed(String),
}

impl Outside {
    pub fn new() -> Result<Outside> {
        use std::os::linux::net::SocketAddrExt;
        let abstract_name = format!("host-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name)?;
        Ok(Outside {
            listener: TcpListener::bind("127.0.0.1:0").context("bind")?,
            _abstract: UnixListener::bind_addr(&address).context("bind abstract")?,
            abstract_name,
        })
    }

    pub fn attempt(&self, found: &Found, attempt: usize, layer: Layer) -> Result<Outcome> {
        let walls = layer.walls(found);
        let order = Order {
            attempt,
            layer,
            parent: std::process::id() as i32,
            port: self.listener.local_addr()?.port(),
            abstract_name: self.abstract_name.clone(),
        };
        let file = sys::memfd("test")?;
        nix::unistd::write(&file, b"artifact").context("fill")?;
        // Every artifact a worker is given is.
        if matches!(layer, Layer::Seals | Layer::Worker | Layer::Loading | Layer::Compiler) {
            sys::seal(&file)?;
        }
        let socket = |kind| socket2::Socket::new(socket2::Domain::IPV4, kind, None);
        let fds: Vec<OwnedFd> = vec![
            socket(socket2::Type::STREAM)?.into(),
            socket(socket2::Type::DGRAM)?.into(),
            // One that has not been through an attempt yet.
            TcpListener::bind("127.0.0.1:0").context("bind")?.into(),
            file,
        ];
        let (channel, child) = start("evil", walls)?;
        let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        sys::send_with_fds(channel.as_fd(), &postcard::to_stdvec(&order)?, &raw)?;
        let answer: Option<Result<(), String>> = hear(&channel)?;
        child.kill(nix::sys::signal::Signal::SIGKILL);
        let end = waitpid(child.pid, None).context("reap")?;
        Ok(match (answer, end) {
            (Some(Ok(())), _) => Outcome::Worked,
            (Some(Err(why)), _) if why.starts_with("set up: ") => bail!("{layer:?}: {why}"),
            (Some(Err(why)), _) => Outcome::Failed(why),
            (None, WaitStatus::Signaled(_, signal, _)) => Outcome::Killed(signal.to_string()),
            (None, end) => bail!("{layer:?}: ended without an answer: {end:?}"),
        })
    }
}

/// Starts this program again in a role, in the namespaces of these walls.
pub fn start(role: &str, walls: Walls) -> Result<(OwnedFd, sys::Child)> {
    let (ours, theirs) = sys::channel_pair()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let child = sys::spawn(&sys::Spawn {
        title: "host: test",
        role,
        walls: &walls.encode(),
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        // Never a file: that could not grow behind the walls.
        stderr: null.as_fd(),
        channel: theirs.as_fd(),
        namespaces: namespaces::flags(&walls),
        ids: namespaces::id_maps(&walls).as_ref(),
    })?;
    Ok((ours, child))
}

/// Waits for one message; `None` at the end of the channel.
pub fn hear<T: for<'a> Deserialize<'a>>(channel: &OwnedFd) -> Result<Option<T>> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut polled = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    if poll(&mut polled, PollTimeout::from(5000u16)).context("wait for child")? == 0 {
        bail!("no answer within 5s");
    }
    let mut buffer = [0; 4096];
    match sys::recv_with_fds(channel.as_fd(), &mut buffer) {
        Ok(Some((length, _))) => Ok(Some(postcard::from_bytes(&buffer[..length])?)),
        Ok(None) | Err(nix::errno::Errno::ECONNRESET) => Ok(None),
        Err(error) => Err(error).context("hear child"),
    }
}

pub fn tell<T: Serialize>(channel: &OwnedFd, message: &T) -> Result<()> {
    sys::send_with_fds(channel.as_fd(), &postcard::to_stdvec(message)?, &[])?;
    Ok(())
}

/// The child's side of one attempt.
pub fn evil(walls: &str) -> Result<()> {
    let channel = sys::adopt_fd(sys::CHANNEL_FD)?;
    let mut polled = [nix::poll::PollFd::new(channel.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut polled, nix::poll::PollTimeout::from(5000u16))?;
    let mut buffer = [0; 4096];
    let (length, fds) =
        sys::recv_with_fds(channel.as_fd(), &mut buffer)?.context("parent is gone")?;
    let order: Order = postcard::from_bytes(&buffer[..length])?;
    let [tcp, udp, listener, file]: [OwnedFd; 4] =
        fds.try_into().ok().context("wrong number of descriptors")?;
    let Order { attempt, layer, parent, port, abstract_name } = order;
    let world = World { parent, port, abstract_name, tcp, udp, listener, file };
    let outcome = match layer.build(Walls::decode(walls)?) {
        Ok(()) => (ATTEMPTS[attempt].make)(&world),
        Err(error) => Err(format!("set up: {error:#}")),
    };
    tell(&channel, &outcome)?;
    // No tidy end: closing things is not on every list.
    std::process::exit(0)
}
