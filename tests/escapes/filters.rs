//! Every system call number, and every rule with arguments that fit and arguments that do not,
//! against the filters themselves. What should happen is worked out from the rules by a second
//! reading of them that shares no code with the first.

use anyhow::{Context, Result};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::call::call;
use crate::sandbox::Role;
use crate::sandbox::seccomp::rule::{Arg, Rule};
use crate::sandbox::seccomp::{self, Files, brokers, rules};

const NUMBERS: i64 = 480;
/// `uretprobe` and `uprobe` on x86-64: the kernel passes no filter for these, and kills whoever makes
/// them from anywhere but its own trampoline.
const NOT_FILTERED: [i64; 2] = [335, 336];
const JUNK: u64 = u64::MAX;

struct Stage {
    name: &'static str,
    lists: &'static [&'static [Rule]],
    /// Whether calls with a path pass, too, to be turned into a signal once the second stage holds.
    passes_paths: bool,
    install: fn() -> Result<()>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "serving",
        lists: &[rules::SERVE],
        passes_paths: false,
        install: || {
            seccomp::install_first(Role::Worker, Files::None)?;
            seccomp::install_second(Files::None)
        },
    },
    Stage {
        name: "serving with directories",
        lists: &[rules::SERVE, rules::FILES],
        passes_paths: false,
        install: || {
            seccomp::install_first(Role::Worker, Files::Writable)?;
            seccomp::install_second(Files::Writable)
        },
    },
    Stage {
        name: "loading",
        lists: &[rules::SERVE, rules::LOAD],
        passes_paths: false,
        install: || seccomp::install_first(Role::Worker, Files::None),
    },
    Stage {
        name: "loading with directories",
        lists: &[rules::SERVE, rules::LOAD, rules::FILES],
        passes_paths: true,
        install: || seccomp::install_first(Role::Worker, Files::ReadOnly),
    },
    Stage {
        name: "forking for a program",
        lists: &[rules::SERVE, rules::LOAD, rules::FORK],
        passes_paths: false,
        install: || seccomp::install_first(Role::Zygote, Files::None),
    },
    Stage {
        name: "running a program",
        lists: &[rules::SERVE],
        passes_paths: false,
        install: || {
            seccomp::install_first(Role::Zygote, Files::None)?;
            seccomp::install_second(Files::None)
        },
    },
    Stage {
        name: "opening files",
        lists: &[brokers::FILES],
        passes_paths: false,
        install: || seccomp::install_first(Role::Files, Files::Writable),
    },
    Stage {
        name: "compiling",
        lists: &[rules::COMPILE],
        passes_paths: false,
        install: || seccomp::install_first(Role::Compiler, Files::None),
    },
];

pub fn run() -> Result<usize> {
    let mut wrong = 0;
    for stage in STAGES {
        let mut tried = 0;
        let mut check = |number: i64, args: [u64; 6]| -> Result<()> {
            tried += 1;
            let (wanted, got) = (stage.permits(number, &args), stage.lets_through(number, &args)?);
            if wanted != got {
                wrong += 1;
                println!("  WRONG: {} call {number} {args:x?}: let through {got}", stage.name);
            }
            Ok(())
        };
        for number in (0..NUMBERS).filter(|number| !NOT_FILTERED.contains(number)) {
            check(number, [JUNK; 6])?;
        }
        // The same calls under the other ABI's numbers, some beyond the table, and none at all.
        for number in [0, 1, 2, 39, 59, 231].map(|number| number | 0x4000_0000) {
            check(number, [JUNK; 6])?;
        }
        for number in [NUMBERS + 1000, -1, i64::from(i32::MIN)] {
            check(number, [JUNK; 6])?;
        }
        for rule in stage.lists.iter().copied().flatten() {
            for alternative in rule.when {
                let fitting = fit(alternative);
                check(rule.call, fitting)?;
                for arg in *alternative {
                    for altered in alter(arg, &fitting) {
                        check(rule.call, altered)?;
                    }
                }
            }
        }
        println!("  while {}: {tried} system calls tried", stage.name);
    }
    Ok(wrong)
}

impl Stage {
    /// A call that a list of refusals answers is let through in this sense: nobody dies of it.
    fn permits(&self, number: i64, args: &[u64; 6]) -> bool {
        let refused = rules::REFUSED.iter().flat_map(|(_, calls)| *calls);
        let rules = self.lists.iter().copied().flatten().filter(|rule| rule.call == number);
        let fits = |rule: &Rule| {
            rule.when.is_empty()
                || rule.when.iter().any(|all| all.iter().all(|arg| holds(arg, args)))
        };
        let mut passed = rules::PATHS.iter().filter(|_| self.passes_paths).chain(refused);
        passed.any(|(call, _)| *call == number) || rules.into_iter().any(fits)
    }

    /// What the kernel does, seen from outside a process that tries it.
    fn lets_through(&self, number: i64, args: &[u64; 6]) -> Result<bool> {
        // SAFETY: this program is single-threaded, so the child may do anything.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Child => {
                nix::unistd::alarm::set(2);
                let mut args = *args;
                let own = std::process::id();
                // "Myself" is another number in every child.
                args.iter_mut().filter(|arg| **arg == OWN).for_each(|arg| *arg = own.into());
                if (self.install)().is_err() {
                    std::process::exit(99);
                }
                let _ = call(number, &args);
                std::process::exit(0)
            }
            ForkResult::Parent { child } => match waitpid(child, None).context("wait")? {
                WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGSYS, _) => Ok(false),
                WaitStatus::Exited(_, 99) => anyhow::bail!("could not install the filter"),
                _ => Ok(true),
            },
        }
    }
}

/// Stands for the id of the process that makes the call.
const OWN: u64 = 0x0123_4567;

fn holds(arg: &Arg, args: &[u64; 6]) -> bool {
    let low = |index: u8| args[usize::from(index)] & 0xffff_ffff;
    match *arg {
        Arg::Is(index, value) => low(index) == value & 0xffff_ffff,
        Arg::Null(index) => args[usize::from(index)] == 0,
        Arg::Bits(index, mask, value) => args[usize::from(index)] & mask == value & mask,
        Arg::OwnPid(index) => args[usize::from(index)] == OWN,
    }
}

fn fit(alternative: &[Arg]) -> [u64; 6] {
    let mut args = [JUNK; 6];
    for arg in alternative {
        let (index, value) = match *arg {
            Arg::Is(index, value) => (index, value),
            Arg::Null(index) => (index, 0),
            Arg::Bits(index, mask, value) => (index, !mask & 0x7fff | value),
            Arg::OwnPid(index) => (index, OWN),
        };
        args[usize::from(index)] = value;
    }
    args
}

fn alter(arg: &Arg, fitting: &[u64; 6]) -> Vec<[u64; 6]> {
    let with = |index: u8, value: u64| {
        let mut args = *fitting;
        args[usize::from(index)] = value;
        args
    };
    match *arg {
        Arg::Is(index, value) => {
            [value + 1, value.wrapping_sub(1), value | 0x4000_0000, value << 33]
                .map(|other| with(index, other))
                .to_vec()
        }
        Arg::Null(index) => vec![with(index, 1), with(index, 1 << 32), with(index, 1 << 63)],
        Arg::Bits(index, mask, value) => (0..64)
            .filter(|bit| mask & (1 << bit) != 0)
            .map(|bit| with(index, value ^ (1 << bit)))
            .collect(),
        Arg::OwnPid(index) => vec![with(index, 1), with(index, 0), with(index, OWN + 1)],
    }
}
