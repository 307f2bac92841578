//! Landlock: no path can be opened, made or removed, no TCP port bound or reached, no process
//! outside signalled and none of its abstract sockets reached — except beneath directories the
//! operator granted. It needs no privilege, so it holds where namespaces cannot be had. Applied
//! while the process has one thread: it binds that thread and its children only.

use std::path::{Path, PathBuf};

use anyhow::Result;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Grant;

/// The newest version whose every right has been tested here; older kernels enforce what they know.
const TESTED: ABI = ABI::V7;

/// Returns the version the kernel enforces, 0 for none.
pub fn restrict(grants: &[Grant<'_>]) -> Result<u8> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::from_all(TESTED))?
        .scope(Scope::from_all(TESTED))?
        .create()?;
    for grant in grants {
        rules = rules.add_rule(PathBeneath::new(grant.fd, allowed(grant.read_only)))?;
    }
    let status = rules.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Ok(0),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as u8),
        _ => Ok(0),
    }
}

/// What the C library reads to look a name up, its own parts included.
const NAMES: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
];

/// For the resolver: read those, connect anywhere, listen nowhere, write nothing.
pub fn restrict_resolver() -> Result<()> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(landlock::path_beneath_rules(NAMES, read))?
        .restrict_self()?;
    Ok(())
}

/// No process outside is signalled and none of its abstract sockets reached; nothing else.
pub fn restrict_scope() -> Result<()> {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.scope(Scope::from_all(TESTED))?.create()?.restrict_self()?;
    Ok(())
}

/// For a native program where no mounts can be made: read and run what is there for everybody, and
/// no path beyond what was granted.
pub fn restrict_native(read: &[PathBuf], dirs: &[(&Path, bool)], network: bool) -> Result<u8> {
    let look = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?;
    let rules = if network { rules } else { rules.handle_access(AccessNet::from_all(TESTED))? };
    let mut rules = rules
        .scope(Scope::from_all(TESTED))?
        .create()?
        .add_rules(landlock::path_beneath_rules(read, look))?
        .add_rules(landlock::path_beneath_rules(DEVICES, look | AccessFs::WriteFile))?;
    for (dir, read_only) in dirs {
        let access = allowed(*read_only) | AccessFs::Execute;
        rules = rules.add_rules(landlock::path_beneath_rules([dir], access))?;
    }
    let status = rules.restrict_self()?;
    Ok(if status.ruleset == RulesetStatus::NotEnforced { 0 } else { 1 })
}

const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Never: execution, devices, sockets and pipes with names, ioctls.
fn allowed(read_only: bool) -> landlock::BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::WriteFile
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::Refer
        | AccessFs::Truncate;
    if read_only { read } else { read | write }
}
