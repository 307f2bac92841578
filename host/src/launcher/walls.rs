//! The walls around a native program: namespaces of its own, a file system of little more than the
//! system's read-only directories, no network, no privileges and no way to any, and limits. The
//! operator widens them program by program. This file is the ordered list, run in the process that
//! then becomes the program.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::Resource::*;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::{Launcher, root};
use crate::config::ProgramLimits;
use crate::ipc::child::{Native, Words};
use crate::sandbox::walls::{NOBODY, Walls};
use crate::sandbox::{landlock, namespaces};
use crate::sys::{IdMaps, walls as raw};

/// The clone flags of a run, with or without a network of its own.
pub fn namespaces(walls: &Walls, network: bool) -> u64 {
    let flags = namespaces::flags(walls);
    if network { flags } else { flags & !(libc::CLONE_NEWNET as u64) }
}

/// Everybody a run may be, under the same number.
pub fn id_maps(walls: &Walls, program: &Native) -> Option<IdMaps> {
    if !walls.user {
        return None;
    }
    let map = |own: u32, granted: &[u32]| {
        let mut all: Vec<u32> = match walls.uid {
            Some(nobody) => granted.iter().copied().chain([0, nobody]).collect(),
            None => vec![own],
        };
        all.sort_unstable();
        all.dedup();
        all.iter().map(|id| format!("{id} {id} 1\n")).collect()
    };
    Some(IdMaps {
        uid: map(nix::unistd::geteuid().as_raw(), &program.grant.uids),
        gid: map(nix::unistd::getegid().as_raw(), &program.grant.gids),
        deny_setgroups: walls.uid.is_none(),
    })
}

/// The last thing before exec.
pub fn enter(launcher: &Launcher, program: &Native, words: &Words) -> Result<()> {
    let walls = &launcher.walls;
    limits(&program.grant.limits)?;
    if walls.insecure {
        return Ok(());
    }
    raw::drop_bounding_capabilities()?;
    become_whom(walls, words)?;
    raw::clear_capabilities()?;
    nix::sys::prctl::set_no_new_privs().context("set no_new_privs")?;
    // After the change of user, which clears it.
    raw::die_with_parent()?;
    if !walls.mount {
        let readable = root::readable(&program.file);
        let grant = &program.grant;
        let dirs: Vec<_> = grant.dirs.iter().map(|dir| (&*dir.host, dir.read_only)).collect();
        let found = landlock::restrict_native(&readable, &dirs, grant.network)?;
        ensure!(found > 0, "nothing would keep it from the file system");
    }
    if launcher.network.is_some() && !program.grant.network {
        landlock::restrict_scope().context("part it from other programs")?;
    }
    launcher.denials.install().context("filter system calls")
}

fn become_whom(walls: &Walls, words: &Words) -> Result<()> {
    let Some(nobody) = walls.uid else {
        let own = nix::unistd::geteuid().as_raw();
        ensure!(words.uid.is_none_or(|uid| uid == own), "only root can become another user");
        return Ok(());
    };
    let (uid, gid) = (words.uid.unwrap_or(nobody), words.gid.unwrap_or(NOBODY));
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[]).context("leave all groups")?;
    setresgid(group, group, group).with_context(|| format!("become group {gid}"))?;
    setresuid(user, user, user).with_context(|| format!("become user {uid}"))
}

fn limits(limits: &ProgramLimits) -> Result<()> {
    raw::limit(RLIMIT_CORE, 0)?;
    raw::limit(RLIMIT_MEMLOCK, 0)?;
    raw::limit(RLIMIT_DATA, limits.memory)?;
    raw::limit(RLIMIT_NPROC, limits.processes)?;
    raw::limit(RLIMIT_NOFILE, limits.files)?;
    raw::limit(RLIMIT_FSIZE, limits.file_size)?;
    raw::limit_processor_time(limits.cpu)
}
