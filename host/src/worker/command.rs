//! Wasm programs. One process for each granted program, the zygote, loads its machine code behind a
//! worker's walls and runs none of it; each run is a fork of it, which seals itself and then runs
//! the program, once. So a start costs a fork, not an exec, a load and the walls again. What runs of
//! one program share are the zygote's namespaces and address layout; they have no system call to
//! reach one another with.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::command_run::{self, Job};
use super::files;
use super::imports::Facts;
use super::plugin::{Artifact, Command, Plugin};
use super::settings::{Dir, Settings};
use super::state::Preopens;
use crate::config::ProgramGrant;
use crate::engine;
use crate::ipc::blocking::Blocking;
use crate::ipc::child::{Ended, FromStarter, Limit, SpawnError, ToStarter, Words};
use crate::ipc::cluster::Status;
use crate::sandbox::{self, Entered, Grant, Walls};
use crate::sys::{self, Forked};

type ToPrimary = Blocking<FromStarter, ToStarter>;

/// Where a program starts, unless told otherwise.
const ROOT: &str = "/";

/// Everything a fork needs.
pub struct Zygote {
    pub engine: wasmtime::Engine,
    pub command: Command,
    pub settings: Settings,
    pub grant: ProgramGrant,
    /// The granted directories, for each directory a run can start in.
    pub worlds: Vec<(String, Preopens)>,
    pub facts: Facts,
    pub null: OwnedFd,
    pub entered: Entered,
}

pub fn run(walls: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let mut channel = ToPrimary::new(sys::adopt_fd(sys::CHANNEL_FD)?);
    let (settings, grant, fds) = match channel.recv()? {
        Some((ToStarter::Wasm(settings, grant), fds)) => (*settings, *grant, fds),
        Some(_) => bail!("the first message was not the program"),
        None => return Ok(()),
    };
    let zygote = match Zygote::load(walls, settings, grant, fds) {
        Ok(zygote) => zygote,
        Err(error) => return channel.send(&FromStarter::Failed(format!("{error:#}")), &[]),
    };
    channel.send(&FromStarter::Ready, &[])?;
    // Comes back with a job in each fork.
    match follow(channel, &zygote)? {
        Some(job) => command_run::run(zygote, job),
        None => Ok(()),
    }
}

impl Zygote {
    fn load(
        walls: Walls,
        settings: Settings,
        grant: ProgramGrant,
        fds: Vec<OwnedFd>,
    ) -> Result<Zygote> {
        let mut fds = fds.into_iter();
        let artifact = fds.next().context("no artifact came along")?;
        let dirs: Vec<OwnedFd> = fds.collect();
        let code = sys::FileMap::sealed(&artifact)?;
        let worlds = worlds(&settings.dirs, &dirs)?;
        // Of the zygote, and so not of its forks.
        let facts = Facts { statm: None, ..Facts::gather(&walls) };
        let null = std::fs::File::open("/dev/null").context("open /dev/null")?.into();
        // The first one makes a socket for signals, which no fork may.
        drop(command_run::runtime()?);
        let both = settings.dirs.iter().zip(&dirs);
        let grants: Vec<_> =
            both.map(|(dir, fd)| Grant { fd: fd.as_fd(), read_only: dir.read_only }).collect();
        // From here on bytes are read that a hijacked compiler could have chosen.
        let entered = sandbox::enter(sandbox::Role::Zygote, walls, &grants)?;
        let engine = engine::for_program(&code)?;
        let from = match entered.artifact_path(&artifact) {
            Some(path) => Artifact::File(path),
            None => Artifact::Bytes(&code),
        };
        let command = Plugin::load_command(&engine, from)?;
        if settings.asks_for_files(&walls) {
            files::ask_instead()?;
        }
        Ok(Zygote { engine, command, settings, grant, worlds, facts, null, entered })
    }

    fn has_world(&self, words: &Words) -> bool {
        let cwd = words.cwd.as_deref().unwrap_or(ROOT);
        self.worlds.iter().any(|(guest, _)| guest == cwd)
    }

    /// The directories of a run, which were looked for before the fork.
    pub fn take_world(&mut self, words: &Words) -> Option<Preopens> {
        let cwd = words.cwd.as_deref().unwrap_or(ROOT);
        let at = self.worlds.iter().position(|(guest, _)| guest == cwd)?;
        Some(self.worlds.swap_remove(at).1)
    }
}

/// A program finds files it names relatively beneath the directory `.`, if it was given one.
fn worlds(dirs: &[Dir], fds: &[OwnedFd]) -> Result<Vec<(String, Preopens)>> {
    let mut worlds = vec![(ROOT.to_owned(), Preopens::open(dirs, fds)?)];
    for (dir, fd) in dirs.iter().zip(fds) {
        let here = Dir { guest_path: ".".into(), read_only: dir.read_only };
        let with: Vec<Dir> = dirs.iter().cloned().chain([here]).collect();
        let mut all = Vec::new();
        for fd in fds.iter().chain([fd]) {
            all.push(fd.try_clone().context("duplicate directory")?);
        }
        worlds.push((dir.guest_path.clone(), Preopens::open(&with, &all)?));
    }
    Ok(worlds)
}

struct Running {
    run: u64,
    pidfd: OwnedFd,
}

/// Forks as told; returns in the fork, and in the zygote when the primary is gone.
fn follow(mut channel: ToPrimary, zygote: &Zygote) -> Result<Option<Job>> {
    let mut running: Vec<Running> = Vec::new();
    let asks = zygote.settings.asks_for_files(&zygote.entered.walls);
    loop {
        let pidfds = running.iter().map(|one| one.pidfd.as_fd());
        let all = std::iter::once(channel.as_fd()).chain(pidfds);
        let mut polled: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
        let ready: Vec<bool> =
            polled.iter().map(|one| one.revents().is_some_and(|r| !r.is_empty())).collect();
        for at in (0..running.len()).rev().filter(|at| ready[at + 1]) {
            if let Some(end) = ended(&running[at])? {
                let Running { run, .. } = running.swap_remove(at);
                channel.send(&FromStarter::Ended { run, end }, &[])?;
            }
        }
        if !ready[0] {
            continue;
        }
        let (run, job) = match channel.recv()? {
            Some((ToStarter::Run { run, connected, ipc, words, .. }, fds)) => {
                (run, Job::new(asks, connected, ipc, *words, fds)?)
            }
            Some(_) => continue,
            None => return Ok(None),
        };
        if !zygote.has_world(&job.words) {
            let why = SpawnError::NoSuchDirectory;
            channel.send(&FromStarter::Refused { run, why }, &[])?;
            continue;
        }
        match sys::fork() {
            Ok(Forked::Child) => return Ok(Some(job)),
            Ok(Forked::Parent(child)) => {
                channel.send(&FromStarter::Started { run }, &[child.pidfd.as_fd()])?;
                running.push(Running { run, pidfd: child.pidfd });
            }
            Err(error) => {
                let why = SpawnError::Failed(format!("{error:#}"));
                channel.send(&FromStarter::Refused { run, why }, &[])?;
            }
        }
    }
}

fn ended(one: &Running) -> Result<Option<Ended>> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    Ok(match waitid(Id::PIDFd(one.pidfd.as_fd()), flags).context("reap program")? {
        WaitStatus::Exited(_, code) => {
            Some(Ended { status: Status::Code(code as u8), limit: None })
        }
        WaitStatus::Signaled(_, signal, _) => {
            let limit = (signal as i32 == libc::SIGXCPU).then_some(Limit::CpuTime);
            Some(Ended { status: Status::Signal(signal as i32), limit })
        }
        _ => None,
    })
}
