//! Namespaces, made by the clone that makes the child: it never exists outside them. In a user
//! namespace of its own even a child started by root holds no capability over anything outside.

use super::walls::{NOBODY, Walls};
use crate::sys::IdMaps;

/// The clone flags for these walls.
pub fn flags(walls: &Walls) -> u64 {
    let mut flags = 0;
    if walls.user {
        flags |= libc::CLONE_NEWUSER;
    }
    if walls.mount {
        flags |= libc::CLONE_NEWNS;
    }
    if walls.others {
        flags |= libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    }
    flags as u64
}

/// Id 0 inside is whoever we are, since exec would take the new namespace's capabilities from any
/// other; root may also map the id that the child then becomes.
pub fn id_maps(walls: &Walls) -> Option<IdMaps> {
    if !walls.user {
        return None;
    }
    let map = |id: u32| match walls.uid {
        Some(_) => format!("0 {id} 1\n{NOBODY} {NOBODY} 1\n"),
        None => format!("0 {id} 1\n"),
    };
    Some(IdMaps {
        uid: map(nix::unistd::geteuid().as_raw()),
        gid: map(nix::unistd::getegid().as_raw()),
        deny_setgroups: walls.uid.is_none(),
    })
}
