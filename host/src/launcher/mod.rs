//! Starts native programs for the primary: a small process of one thread, which may fork where the
//! primary may not. It is as privileged as the primary, reads nothing but the primary's orders, and
//! makes for each run an init in namespaces of its own; see there.

mod init;
mod root;
mod walls;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::ipc::blocking::Blocking;
use crate::ipc::channel;
use crate::ipc::child::{Ended, FromStarter, Native, SpawnError, ToStarter};
use crate::ipc::cluster::Status;
use crate::sandbox::seccomp::Denials;
use crate::sandbox::{self, Walls};
use crate::sys::{self, Forked};

type ToPrimary = Blocking<FromStarter, ToStarter>;

/// Everything a run needs, made before it.
struct Launcher {
    walls: Walls,
    denials: Denials,
    /// Where making them is allowed and parting them is possible, all runs share an empty network
    /// namespace: making and unmaking one takes the kernel longer than all the rest of a run.
    network: Option<Network>,
    programs: Vec<Native>,
}

/// The launcher is in the empty one, except while it makes an init that keeps the network.
struct Network {
    host: OwnedFd,
    empty: OwnedFd,
}

impl Network {
    fn part() -> Result<Network> {
        let open = || File::open("/proc/self/ns/net").map(OwnedFd::from);
        let host = open().context("open network namespace")?;
        unshare(CloneFlags::CLONE_NEWNET).context("leave the network")?;
        Ok(Network { host, empty: open().context("open network namespace")? })
    }

    /// Forks in the host's network; the child stays there.
    fn joined(&self, fork: impl FnOnce() -> Result<Forked>) -> Result<Forked> {
        setns(&self.host, CloneFlags::CLONE_NEWNET).context("join the network")?;
        let forked = fork();
        if !matches!(forked, Ok(Forked::Child)) {
            setns(&self.empty, CloneFlags::CLONE_NEWNET).context("leave the network")?;
        }
        forked
    }
}

/// An init with its namespaces and file system, which has not been given its run yet. Each program
/// that was started once has one, so that the next start need not wait for it.
struct Spare {
    pidfd: OwnedFd,
    orders: Blocking<ToStarter, FromStarter>,
}

struct Running {
    run: u64,
    init: OwnedFd,
}

/// What a new init comes to life with.
struct Birth {
    program: usize,
    orders: Blocking<FromStarter, ToStarter>,
}

pub fn run(_own: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let mut channel = ToPrimary::new(sys::adopt_fd(sys::CHANNEL_FD)?);
    let (programs, walls, parts) = match channel.recv()? {
        Some((ToStarter::Native(programs, walls, parts), _)) => {
            (programs, Walls::decode(&walls)?, parts)
        }
        Some(_) => bail!("the first message was not the programs"),
        None => return Ok(()),
    };
    let shares = parts && walls.others && walls.uid.is_some();
    let network = shares.then(Network::part).transpose()?;
    let launcher = Launcher { walls, denials: Denials::for_native()?, network, programs };
    channel.send(&FromStarter::Ready, &[])?;
    // Comes back in each init.
    match follow(&mut channel, &launcher)? {
        Some(birth) => init::run(channel, &launcher, birth),
        None => Ok(()),
    }
}

fn follow(channel: &mut ToPrimary, launcher: &Launcher) -> Result<Option<Birth>> {
    let mut running: Vec<Running> = Vec::new();
    let mut spares: HashMap<usize, Spare> = HashMap::new();
    loop {
        let (told, ended) = wait(channel, &running)?;
        for at in ended.into_iter().rev() {
            let Running { run, init } = &running[at];
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
            match waitid(Id::PIDFd(init.as_fd()), flags).context("reap init")? {
                WaitStatus::StillAlive => continue,
                // It has told the rest itself.
                WaitStatus::Exited(_, 0) => {}
                _ => {
                    let end = Ended { status: Status::Signal(libc::SIGKILL), limit: None };
                    channel.send(&FromStarter::Ended { run: *run, end }, &[])?;
                }
            }
            running.swap_remove(at);
        }
        if !told {
            continue;
        }
        let (order, fds) = match channel.recv()? {
            Some(received) => received,
            None => return Ok(None),
        };
        let ToStarter::Run { run, program, .. } = &order else { continue };
        let (run, program) = (*run, *program as usize);
        ensure!(program < launcher.programs.len(), "there is no program {program}");
        let found = match spares.remove(&program) {
            Some(spare) => Ok(Ok(spare)),
            None => beget(launcher, program),
        };
        let spare = match found {
            Ok(Ok(spare)) => spare,
            Ok(Err(birth)) => return Ok(Some(birth)),
            Err(error) => {
                let why = SpawnError::Failed(format!("{error:#}"));
                channel.send(&FromStarter::Refused { run, why }, &[])?;
                continue;
            }
        };
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let sent = spare.orders.send(&order, &borrowed);
        running.push(Running { run, init: spare.pidfd });
        if let Err(error) = sent {
            let why = SpawnError::Failed(format!("{error:#}"));
            channel.send(&FromStarter::Refused { run, why }, &[])?;
        }
        drop(fds);
        match beget(launcher, program) {
            Ok(Ok(spare)) => drop(spares.insert(program, spare)),
            Ok(Err(birth)) => return Ok(Some(birth)),
            // The next run will say why.
            Err(_) => {}
        }
    }
}

/// Whether the primary has told something, and which inits have ended.
fn wait(channel: &ToPrimary, running: &[Running]) -> Result<(bool, Vec<usize>)> {
    let inits = running.iter().map(|one| one.init.as_fd());
    let all = std::iter::once(channel.as_fd()).chain(inits);
    let mut polled: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error).context("wait"),
    }
    let ready = |one: &PollFd<'_>| one.revents().is_some_and(|events| !events.is_empty());
    let ended = (0..running.len()).filter(|at| ready(&polled[at + 1])).collect();
    Ok((ready(&polled[0]), ended))
}

/// A new init; the error of the inner result is what it sees itself.
fn beget(launcher: &Launcher, number: usize) -> Result<Result<Spare, Birth>> {
    let program = &launcher.programs[number];
    let (ours, theirs) = channel::pair()?;
    let own_network = launcher.network.is_none() && !program.grant.network;
    let namespaces = walls::namespaces(&launcher.walls, own_network);
    let ids = walls::id_maps(&launcher.walls, program);
    let make = || sys::clone_into(namespaces, ids.as_ref());
    let forked = match &launcher.network {
        Some(network) if program.grant.network => network.joined(make),
        _ => make(),
    };
    Ok(match forked? {
        Forked::Child => Err(Birth { program: number, orders: Blocking::new(theirs) }),
        Forked::Parent(child) => Ok(Spare { pidfd: child.pidfd, orders: Blocking::new(ours) }),
    })
}
