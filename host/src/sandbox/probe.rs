//! Finds out which walls this machine allows, by building them around a child of no importance:
//! kernel versions and settings lie, an attempt does not.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;

use super::selfcheck::InForce;
use super::walls::{NOBODY, Walls};
use super::{Role, cgroup, namespaces};
use crate::sys::{self, Spawn};

/// The argument that makes a child the subject of the attempt.
pub const ROLE: &str = "probe";
const PATIENCE_MS: u16 = 5000;

/// What holds the children of this run, and why it is not more.
#[derive(Clone, Debug)]
pub struct Found {
    pub walls: Walls,
    pub in_force: InForce,
    pub reduced: Vec<String>,
}

static DECIDED: OnceLock<Found> = OnceLock::new();

/// Chooses the walls of every child to come; once, before the first.
pub fn decide(insecure: bool) -> Result<&'static Found> {
    let found = match insecure {
        true => Found { walls: Walls::insecure(), in_force: InForce::default(), reduced: vec![] },
        false => probe()?,
    };
    Ok(DECIDED.get_or_init(|| found))
}

/// What was chosen, once it was.
pub fn found() -> Option<&'static Found> {
    DECIDED.get()
}

impl Found {
    /// How much of the sandbox there is, in a word.
    pub fn word(&self) -> &'static str {
        match (self.walls.insecure, self.reduced.is_empty()) {
            (true, _) => "none",
            (false, true) => "full",
            (false, false) => "reduced",
        }
    }
}

/// The walls of this run's children.
pub fn decided() -> Result<Walls> {
    DECIDED.get().map(|found| found.walls).context("no sandbox has been chosen")
}

/// Whether a process can be kept from the abstract sockets of others in its network namespace.
pub fn scopes_sockets() -> bool {
    const SINCE: u8 = 6;
    DECIDED.get().is_some_and(|found| found.in_force.landlock >= SINCE)
}

/// Whether a process that holds a directory can be kept from what lies above it.
pub fn confines_paths() -> bool {
    DECIDED.get().is_some_and(|found| found.walls.insecure || found.in_force.landlock > 0)
}

/// The summary, the first time it is asked for.
pub fn untold_summary() -> Option<String> {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let found = DECIDED.get()?;
    (!TOLD.swap(true, Relaxed)).then(|| found.summary(cgroup::claimed()))
}

/// Tries the strongest walls first.
pub fn probe() -> Result<Found> {
    let uid = nix::unistd::geteuid().is_root().then_some(NOBODY);
    let of = |user, mount, others| Walls { insecure: false, user, mount, others, uid };
    let mut candidates = vec![of(true, true, true), of(true, false, true)];
    if uid.is_some() {
        candidates.extend([of(false, true, true), of(false, false, true)]);
    }
    candidates.push(of(false, false, false));
    let mut reduced = Vec::new();
    for walls in candidates {
        match attempt(walls) {
            Ok(in_force) => {
                reduced.extend(missing(in_force));
                return Ok(Found { walls, in_force, reduced });
            }
            Err(error) => reduced.push(format!("no {}: {error:#}", list(&walls))),
        }
    }
    bail!("{}", reduced.pop().unwrap_or_default())
}

fn missing(found: InForce) -> Vec<String> {
    let mut missing = Vec::new();
    match found.landlock {
        0 => missing.push("no Landlock: the kernel lacks it or has it switched off".to_owned()),
        version @ 1..6 => {
            missing.push(format!("Landlock {version}: signals and ports are guarded from 6 on"));
        }
        _ => {}
    }
    if !found.no_new_code {
        missing.push("no memory-deny-write-execute: Linux 6.3 has it".to_owned());
    }
    missing
}

fn attempt(walls: Walls) -> Result<InForce> {
    let (ours, theirs) = sys::channel_pair()?;
    let null =
        File::options().read(true).write(true).open("/dev/null").context("open /dev/null")?;
    let ids = namespaces::id_maps(&walls);
    let child = sys::spawn(&Spawn {
        title: "host: probe",
        role: ROLE,
        walls: &walls.encode(),
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        stderr: null.as_fd(),
        channel: theirs.as_fd(),
        namespaces: namespaces::flags(&walls),
        ids: ids.as_ref(),
    })?;
    drop(theirs);
    let answer = answer(&ours);
    let verified = super::selfcheck::verify(child.pid.as_raw(), walls);
    child.kill(nix::sys::signal::Signal::SIGKILL);
    let end = waitpid(child.pid, None).context("reap probe")?;
    match answer? {
        Some(Ok(in_force)) => {
            verified?;
            Ok(in_force)
        }
        Some(Err(why)) => bail!("{why}"),
        None => bail!("a child in it ended: {end:?}"),
    }
}

type Answer = Result<InForce, String>;

fn answer(channel: &OwnedFd) -> Result<Option<Answer>> {
    let mut polled = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut polled, PollTimeout::from(PATIENCE_MS)).context("wait for probe")?;
    ensure!(ready > 0, "no answer within {PATIENCE_MS} ms");
    let mut buffer = [0; 4096];
    match sys::recv_with_fds(channel.as_fd(), &mut buffer).context("hear probe")? {
        Some((length, _)) => {
            Ok(Some(postcard::from_bytes(&buffer[..length]).context("read probe's answer")?))
        }
        None => Ok(None),
    }
}

/// The child's side: goes through what a worker goes through, tells, and waits to be killed.
pub fn run(walls: &str) -> Result<()> {
    super::fds::only_the_declared()?;
    let channel = sys::adopt_fd(sys::CHANNEL_FD)?;
    let walled_in = || super::seal(super::enter(Role::Worker, Walls::decode(walls)?, &[])?);
    let answer: Answer = walled_in().map_err(|error| format!("{error:#}"));
    let bytes = postcard::to_stdvec(&answer).context("encode answer")?;
    sys::send_with_fds(channel.as_fd(), &bytes, &[]).context("answer")?;
    // The primary looks at us, then kills us; if it is gone instead, this reads its end.
    let mut byte = [0; 1];
    let _ = nix::unistd::read(&channel, &mut byte);
    Ok(())
}

fn list(walls: &Walls) -> String {
    match walls.namespaces() {
        names if names.is_empty() => "sandbox".to_owned(),
        names => format!("ns {}", names.join(",")),
    }
}

impl Found {
    /// The start-up line and the first line of `host doctor`.
    pub fn summary(&self, groups: &cgroup::Groups) -> String {
        if self.walls.insecure {
            return "sandbox: NONE, as --insecure-no-sandbox asked: a plugin that escapes \
                    WebAssembly owns this user's account"
                .to_owned();
        }
        let mut parts = vec!["seccomp 2-stage".to_owned()];
        if self.in_force.landlock > 0 {
            parts.push(format!("landlock {}", self.in_force.landlock));
        }
        if namespaces::flags(&self.walls) != 0 {
            parts.push(list(&self.walls));
        }
        if self.in_force.no_new_code {
            parts.push("no new code".to_owned());
        }
        let own = nix::unistd::geteuid().as_raw();
        parts.push(format!("uid {}", self.walls.uid.unwrap_or(own)));
        parts.push(groups.summary());
        let parts = parts.join(", ");
        match self.reduced.is_empty() {
            true => format!("sandbox: full ({parts})"),
            false => format!("sandbox: reduced ({parts}); {}", self.reduced.join("; ")),
        }
    }
}
