//! Starts native programs for the primary: a small process of one thread, which may fork where the
//! primary may not. It is as privileged as the primary, reads nothing but the primary's orders, and
//! makes for each run an init in namespaces of its own; see there.

mod init;

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::ipc::blocking::Blocking;
use crate::ipc::child::{Ended, FromStarter, Native, SpawnError, ToStarter, Words};
use crate::ipc::cluster::Status;
use crate::sandbox::seccomp::Denials;
use crate::sandbox::{self, Walls, native};
use crate::sys::{self, Forked};

type ToPrimary = Blocking<FromStarter, ToStarter>;

/// Everything a run needs, made before it.
struct Launcher {
    walls: Walls,
    denials: Denials,
    programs: Vec<Native>,
}

struct Job {
    run: u64,
    program: usize,
    words: Words,
    stdio: [Option<OwnedFd>; 3],
}

struct Running {
    run: u64,
    init: OwnedFd,
}

pub fn run(_own: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let mut channel = ToPrimary::new(sys::adopt_fd(sys::CHANNEL_FD)?);
    let (programs, walls) = match channel.recv()? {
        Some((ToStarter::Native(programs, walls), _)) => (programs, Walls::decode(&walls)?),
        Some(_) => bail!("the first message was not the programs"),
        None => return Ok(()),
    };
    let launcher = Launcher { walls, denials: Denials::for_native()?, programs };
    nix::sys::prctl::set_dumpable(false).context("close to debuggers")?;
    channel.send(&FromStarter::Ready, &[])?;
    // Comes back with a job in each init.
    match follow(&mut channel, &launcher)? {
        Some(job) => init::run(channel, &launcher, job),
        None => Ok(()),
    }
}

fn follow(channel: &mut ToPrimary, launcher: &Launcher) -> Result<Option<Job>> {
    let mut running: Vec<Running> = Vec::new();
    loop {
        let inits = running.iter().map(|one| one.init.as_fd());
        let all = std::iter::once(channel.as_fd()).chain(inits);
        let mut polled: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
        let ready: Vec<bool> =
            polled.iter().map(|one| one.revents().is_some_and(|r| !r.is_empty())).collect();
        for at in (0..running.len()).rev().filter(|at| ready[at + 1]) {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
            match waitid(Id::PIDFd(running[at].init.as_fd()), flags).context("reap init")? {
                WaitStatus::StillAlive => continue,
                // It has told the rest itself.
                WaitStatus::Exited(_, 0) => drop(running.swap_remove(at)),
                _ => {
                    let Running { run, .. } = running.swap_remove(at);
                    let end = Ended { status: Status::Signal(libc::SIGKILL), limit: None };
                    channel.send(&FromStarter::Ended { run, end }, &[])?;
                }
            }
        }
        if !ready[0] {
            continue;
        }
        let job = match channel.recv()? {
            Some((ToStarter::Run { run, program, connected, words, .. }, fds)) => {
                Job::new(run, program, connected, *words, fds)?
            }
            Some(_) => continue,
            None => return Ok(None),
        };
        let Some(program) = launcher.programs.get(job.program) else {
            bail!("program {} of {}", job.program, launcher.programs.len());
        };
        let namespaces = native::namespaces(&launcher.walls, program.grant.network);
        let ids = native::id_maps(&launcher.walls, program);
        match sys::clone_into(namespaces, ids.as_ref()) {
            Ok(Forked::Child) => return Ok(Some(job)),
            Ok(Forked::Parent(init)) => running.push(Running { run: job.run, init: init.pidfd }),
            Err(error) => {
                let (run, why) = (job.run, SpawnError::Failed(format!("{error:#}")));
                channel.send(&FromStarter::Refused { run, why }, &[])?;
            }
        }
    }
}

impl Job {
    fn new(
        run: u64,
        program: u32,
        connected: [bool; 3],
        words: Words,
        fds: Vec<OwnedFd>,
    ) -> Result<Job> {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| match wanted {
            true => fds.next().context("a descriptor is missing").map(Some),
            false => Ok(None),
        };
        let [stdin, stdout, stderr] = connected;
        let stdio = [next(stdin)?, next(stdout)?, next(stderr)?];
        Ok(Job { run, program: program as usize, words, stdio })
    }
}
