//! Trust, but read it back: a child looks at itself once its walls stand, and the primary reads
//! what the kernel says of the child before it believes *ready*.

use anyhow::{Context, Result, ensure};
use nix::sys::prctl;
use nix::unistd::getresuid;
use serde::{Deserialize, Serialize};

use super::walls::Walls;
use crate::sys::walls as raw;

/// What a child found to hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    pub seccomp: bool,
    /// Version of Landlock; 0 is none.
    pub landlock: u8,
    /// Memory cannot become executable, whatever system call is used.
    pub no_new_code: bool,
}

/// Landlock and capabilities bind the calling thread: there must be no other.
pub fn single_thread() -> Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").context("count threads")?.count();
    ensure!(threads == 1, "{threads} threads run before the sandbox is entered");
    Ok(())
}

pub fn from_inside(walls: Walls, landlock: u8) -> Result<InForce> {
    let (effective, permitted, inheritable) = raw::capabilities()?;
    ensure!(effective | permitted | inheritable == 0, "capabilities are left");
    ensure!(prctl::get_no_new_privs().context("read no_new_privs")?, "no_new_privs is off");
    ensure!(!prctl::get_dumpable().context("read dumpable")?, "open to debuggers");
    if let Some(uid) = walls.uid {
        let ids = getresuid().context("read user ids")?;
        let all = [ids.real, ids.effective, ids.saved].map(|id| id.as_raw());
        ensure!(all == [uid; 3], "user ids are {all:?} instead of {uid}");
    }
    let seccomp = raw::seccomp_mode() == 2;
    ensure!(seccomp, "no system call filter");
    Ok(InForce { seccomp, landlock, no_new_code: false })
}

/// For the primary: what the kernel says of a child that claims to be walled in.
pub fn verify(pid: i32, walls: Walls) -> Result<()> {
    if walls.insecure {
        return Ok(());
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("read status of {pid}"))?;
    check(&status, walls)
}

fn check(status: &str, walls: Walls) -> Result<()> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).with_context(|| format!("status has no {name}"))
    };
    for (name, wanted) in [
        ("Seccomp", "2"),
        ("NoNewPrivs", "1"),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        let found = field(name)?;
        ensure!(found == wanted, "{name} is {found} instead of {wanted}");
    }
    if let Some(uid) = walls.uid {
        for name in ["Uid", "Gid"] {
            let found = field(name)?;
            let all = found.split_whitespace().all(|id| id == uid.to_string());
            ensure!(all, "{name} is {found} instead of {uid}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Name:\thost\nUid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t\
        65534\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t4\n";

    #[test]
    fn the_primary_refuses_a_child_with_any_wall_missing() {
        let walls = Walls { uid: Some(65534), ..Walls::default() };
        check(GOOD, walls).unwrap();
        for (right, wrong) in [
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000200000"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000200000"),
            ("Uid:\t65534", "Uid:\t0"),
            ("Gid:\t65534\t65534", "Gid:\t65534\t0"),
            ("Seccomp:", "Something:"),
        ] {
            assert!(check(&GOOD.replace(right, wrong), walls).is_err(), "{wrong}");
        }
    }
}
