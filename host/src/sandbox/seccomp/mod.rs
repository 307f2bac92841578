//! System call filters, in two stages: the first while an artifact is loaded, the second for good.
//! A call that is on no list kills the process; the few that a library may try and live without
//! get an error. `rules` holds the lists, with a reason beside every rule.

pub mod brokers;
pub mod denied;
pub mod rule;
pub mod rules;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Grant, Role};
use rule::{Arg, Rule};

/// What a process may do with files beneath granted directories, which another opens for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    None,
    ReadOnly,
    Writable,
}

impl Files {
    pub fn for_grants(grants: &[Grant<'_>]) -> Files {
        match grants {
            [] => Files::None,
            some if some.iter().all(|grant| grant.read_only) => Files::ReadOnly,
            _ => Files::Writable,
        }
    }
}

pub fn install_first(role: Role, files: Files) -> Result<()> {
    // Both stages filter every later call, so the first must also pass all that the second does.
    let lists: &[&[Rule]] = match (role, files) {
        (Role::Worker, Files::None) => &[rules::SERVE, rules::LOAD],
        (Role::Worker, _) => &[rules::SERVE, rules::LOAD, rules::FILES],
        (Role::Zygote, Files::None) => &[rules::SERVE, rules::LOAD, rules::FORK],
        (Role::Zygote, _) => &[rules::SERVE, rules::LOAD, rules::FILES, rules::FORK],
        (Role::Compiler, _) => &[rules::COMPILE],
        (Role::Files, _) => &[brokers::FILES],
    };
    for (error, calls) in rules::REFUSED {
        apply(&refusing(*error, *calls)?).context("refuse system calls")?;
    }
    // A process that holds directories may: it is the one that is asked.
    let others = if role == Role::Files { Files::None } else { files };
    apply(&allowing(lists, paths(others))?).context("filter system calls")
}

/// The calls that will be asked of another process.
fn paths(files: Files) -> &'static [(i64, &'static str)] {
    if files == Files::None { &[] } else { rules::PATHS }
}

/// For the resolver, whose C library may do much: takes away what it has no business with.
pub fn install_denials() -> Result<()> {
    apply(&refusing(libc::EPERM, denied::to_resolver())?).context("refuse system calls")
}

/// For native programs: made once, as every run needs the same.
pub struct Denials(BpfProgram, BpfProgram);

impl Denials {
    pub fn for_native() -> Result<Denials> {
        let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for (call, _) in denied::to_programs() {
            calls.insert(*call, vec![]);
        }
        let user = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(libc::CLONE_NEWUSER as u64),
            libc::CLONE_NEWUSER as u64,
        )?;
        calls.insert(libc::SYS_clone, vec![SeccompRule::new(vec![user])?]);
        let denied = SeccompAction::Errno(libc::EPERM as u32);
        let denials = program(calls, SeccompAction::Allow, denied)?;
        // Its flags are in memory, out of a filter's sight: clone is asked next.
        let clone3 = refusing(libc::ENOSYS, &[(libc::SYS_clone3, "")])?;
        Ok(Denials(clone3, denials))
    }

    pub fn install(&self) -> Result<()> {
        apply(&self.0)?;
        apply(&self.1)
    }
}

/// Binds the threads that run by now as well.
pub fn install_second(files: Files) -> Result<()> {
    let lists: &[&[Rule]] = match files {
        Files::None => &[rules::SERVE],
        Files::ReadOnly | Files::Writable => &[rules::SERVE, rules::FILES],
    };
    let all_threads = |filter: &BpfProgram| {
        let applied = seccompiler::apply_filter_all_threads(filter);
        applied.context("filter system calls of all threads")
    };
    let paths = paths(files);
    if !paths.is_empty() {
        // While the first stage still lets another be installed.
        all_threads(&answering(SeccompAction::Trap, paths)?)?;
    }
    all_threads(&allowing(lists, paths)?)
}

fn apply(filter: &BpfProgram) -> Result<()> {
    Ok(seccompiler::apply_filter(filter)?)
}

/// Kills the process for every call that no rule of these lists allows. Calls the `REFUSED` lists
/// answer have to pass here to meet their error, and so have those that become a signal.
pub fn allowing(lists: &[&[Rule]], trapped: &[(i64, &str)]) -> Result<BpfProgram> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let all = || lists.iter().copied().flatten();
    for rule in all() {
        let alternatives = calls.entry(rule.call).or_default();
        for conditions in rule.when {
            let conditions = conditions.iter().map(condition).collect::<Result<_>>()?;
            alternatives.push(SeccompRule::new(conditions)?);
        }
    }
    // No condition at all is what the library takes for "any arguments".
    let refused = rules::REFUSED.iter().flat_map(|(_, calls)| calls.iter().map(|(call, _)| *call));
    let unconditional = all().filter(|rule| rule.when.is_empty()).map(|rule| rule.call);
    let passed = refused.chain(trapped.iter().map(|(call, _)| *call));
    calls.extend(unconditional.chain(passed).map(|call| (call, Vec::new())));
    program(calls, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn refusing<'a>(
    error: i32,
    calls: impl IntoIterator<Item = &'a (i64, &'a str)>,
) -> Result<BpfProgram> {
    answering(SeccompAction::Errno(error as u32), calls)
}

/// Lets everything else pass.
fn answering<'a>(
    action: SeccompAction,
    calls: impl IntoIterator<Item = &'a (i64, &'a str)>,
) -> Result<BpfProgram> {
    let calls = calls.into_iter().map(|(call, _)| (*call, vec![])).collect();
    program(calls, SeccompAction::Allow, action)
}

fn program(
    calls: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(calls, otherwise, matching, arch)?.try_into()?)
}

fn condition(arg: &Arg) -> Result<SeccompCondition> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let condition = match *arg {
        Arg::Is(index, value) => SeccompCondition::new(index, Dword, Eq, value),
        Arg::Null(index) => SeccompCondition::new(index, Qword, Eq, 0),
        Arg::Bits(index, mask, value) => SeccompCondition::new(index, Qword, MaskedEq(mask), value),
        Arg::OwnPid(index) => {
            let own = nix::unistd::getpid().as_raw() as u64;
            SeccompCondition::new(index, Dword, Eq, own)
        }
    };
    Ok(condition?)
}
