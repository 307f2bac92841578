//! `--user` and `--group`: gives up root once the addresses are bound.

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Group, Uid, User, setgroups, setresgid, setresuid};

/// Which user this names.
pub fn find(user: &str) -> Result<Uid> {
    find_user(user).map(|(uid, _)| uid)
}

pub fn become_user(user: Option<&str>, group: Option<&str>) -> Result<()> {
    let user = user.map(find_user).transpose()?;
    let group = match group {
        Some(name) => Some(find_group(name)?),
        None => user.as_ref().and_then(|(_, primary)| *primary),
    };
    // A successor is started by one who has given root up already.
    if !Uid::effective().is_root() && user.as_ref().is_some_and(|(uid, _)| *uid == Uid::effective())
    {
        return Ok(());
    }
    if let Some(gid) = group {
        setgroups(&[gid]).context("set groups")?;
        setresgid(gid, gid, gid).with_context(|| format!("become group {gid}"))?;
    }
    if let Some((uid, _)) = user {
        setresuid(uid, uid, uid).with_context(|| format!("become user {uid}"))?;
    }
    Ok(())
}

fn find_user(name: &str) -> Result<(Uid, Option<Gid>)> {
    if let Some(user) = User::from_name(name).with_context(|| format!("--user {name}"))? {
        return Ok((user.uid, Some(user.gid)));
    }
    match name.parse() {
        Ok(uid) => {
            let uid = Uid::from_raw(uid);
            Ok((uid, User::from_uid(uid).ok().flatten().map(|user| user.gid)))
        }
        Err(_) => bail!("--user {name}: no such user"),
    }
}

fn find_group(name: &str) -> Result<Gid> {
    if let Some(group) = Group::from_name(name).with_context(|| format!("--group {name}"))? {
        return Ok(group.gid);
    }
    name.parse().map(Gid::from_raw).ok().with_context(|| format!("--group {name}: no such group"))
}
