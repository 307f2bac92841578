//! The walls around every child that touches what a stranger made. This file is the ordered list
//! of them; each mechanism has a file of its own. Nothing here trusts the code it will confine:
//! what `enter` takes away is gone before the first byte of an artifact is read.

pub mod cgroup;
pub mod dirs;
pub mod fds;
pub mod identity;
pub mod landlock;
pub mod namespaces;
pub mod probe;
pub mod rlimits;
pub mod root;
pub mod seccomp;
pub mod selfcheck;
pub mod walls;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

pub use walls::Walls;

use crate::sys;

/// Which child this is; the difference is in system calls and limits only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Loads an artifact and serves strangers with it. The primary program is a worker in this
    /// respect: machine code from an artifact, channels to the primary, no more.
    Worker,
    /// Loads an artifact, runs none of it, and forks: its children seal themselves as workers do.
    Zygote,
    /// Turns bytes into an artifact; runs none of it.
    Compiler,
    /// Makes calls with paths for workers and programs, beneath the granted directories.
    Files,
}

/// A directory the operator granted, as it arrived from the primary.
#[derive(Clone, Copy)]
pub struct Grant<'a> {
    pub fd: BorrowedFd<'a>,
    pub read_only: bool,
}

/// A child between its two steps: walled in, but still able to load one artifact.
#[must_use]
pub struct Entered {
    role: Role,
    pub walls: Walls,
    files: seccomp::Files,
    pub in_force: selfcheck::InForce,
    /// The working directory is this process's own list of descriptors.
    by_path: bool,
}

/// Everything that comes before a byte from outside is read: run it with one thread.
pub fn enter(role: Role, walls: Walls, grants: &[Grant<'_>]) -> Result<Entered> {
    let files = seccomp::Files::for_grants(grants);
    if walls.insecure {
        let in_force = selfcheck::InForce::default();
        return Ok(Entered { role, walls, files, in_force, by_path: false });
    }
    selfcheck::single_thread()?;
    let own_descriptors = root::own_descriptors()?;
    if walls.mount {
        root::leave_for_an_empty_one().context("leave the file system")?;
    }
    identity::drop_to(walls.uid).context("give up privileges")?;
    identity::pin(sys::CHANNEL_FD)?;
    // The others are given directories, but no right to any path in them.
    let beneath = if role == Role::Files { grants } else { &[] };
    let landlock = landlock::restrict(beneath).context("landlock")?;
    ensure!(
        landlock > 0 || walls.mount,
        "the kernel offers neither Landlock nor a mount namespace: nothing would keep a plugin \
         from the file system"
    );
    rlimits::before_load(role)?;
    // Opening by path needs a directory that Landlock guards.
    let by_path = landlock > 0 && matches!(role, Role::Worker | Role::Zygote);
    if by_path {
        nix::unistd::fchdir(&own_descriptors).context("enter own descriptors")?;
    }
    drop(own_descriptors);
    seccomp::install_first(role, files)?;
    let in_force = selfcheck::from_inside(walls, landlock)?;
    Ok(Entered { role, walls, files, in_force, by_path })
}

/// The resolver's own, looser walls: it keeps the network and what looking up names reads, since
/// that is what it is for.
pub fn enter_resolver(walls: Walls) -> Result<()> {
    if walls.insecure {
        return Ok(());
    }
    selfcheck::single_thread()?;
    identity::drop_to(walls.uid).context("give up privileges")?;
    identity::pin(sys::CHANNEL_FD)?;
    landlock::restrict_resolver().context("landlock")?;
    rlimits::for_resolver()?;
    seccomp::install_denials()
}

/// What is left to take away once the artifact is loaded and every thread runs.
pub fn seal(entered: Entered) -> Result<selfcheck::InForce> {
    let Entered { role, walls, files, mut in_force, by_path } = entered;
    if walls.insecure || !matches!(role, Role::Worker | Role::Zygote) {
        return Ok(in_force);
    }
    if by_path {
        std::env::set_current_dir("/").context("leave own descriptors")?;
    }
    rlimits::after_load(files)?;
    in_force.no_new_code = sys::walls::refuse_new_code()?;
    seccomp::install_second(files)?;
    Ok(in_force)
}

impl Entered {
    /// How to open the artifact for mapping, so that workers share its pages; without it, load
    /// from bytes.
    pub fn artifact_path(&self, artifact: &OwnedFd) -> Option<PathBuf> {
        match (self.by_path, self.walls.insecure) {
            (true, _) => Some(artifact.as_raw_fd().to_string().into()),
            (false, true) => Some(format!("/proc/self/fd/{}", artifact.as_raw_fd()).into()),
            (false, false) => None,
        }
    }
}
