//! `host doctor`: what is in force on this machine, why anything is missing, what to do about it.

use anyhow::Result;
use serde::Serialize;

use crate::cli::Format;
use crate::sandbox::cgroup::Groups;
use crate::sandbox::probe::{self, Found};
use crate::sandbox::seccomp::rule::Rule;
use crate::sandbox::seccomp::{brokers, denied, rules};

pub fn run(system_calls: bool, format: Format) -> Result<()> {
    if system_calls {
        return print(&calls(), format, print_calls);
    }
    let found = probe::probe()?;
    let groups = Groups::claim();
    groups.release();
    print(&Report::new(&found, &groups), format, |report| {
        println!("{}", report.summary);
        report.advice.iter().for_each(|advice| println!("  - {}: {}", advice.about, advice.text));
    })
}

fn print<T: Serialize>(value: &T, format: Format, table: impl Fn(&T)) -> Result<()> {
    match format {
        Format::Table => table(value),
        Format::Json => println!("{}", serde_json::to_string(value)?),
    }
    Ok(())
}

#[derive(Serialize)]
struct Report {
    summary: String,
    /// Nothing that this host can use is missing; control groups are not part of it.
    full: bool,
    walls: Standing,
    /// What is missing, and why.
    reduced: Vec<String>,
    advice: Vec<Advice>,
}

#[derive(Serialize)]
struct Standing {
    seccomp: bool,
    user_namespace: bool,
    mount_namespace: bool,
    /// Of processes, network, IPC and host name.
    other_namespaces: bool,
    /// Version of the kernel's Landlock; 0 is none.
    landlock: u8,
    no_new_code: bool,
    uid: u32,
    /// Controllers that bound workers.
    cgroup: Vec<String>,
}

#[derive(Serialize)]
struct Advice {
    about: &'static str,
    text: &'static str,
}

impl Report {
    fn new(found: &Found, groups: &Groups) -> Report {
        let (walls, in_force) = (&found.walls, found.in_force);
        let own = nix::unistd::geteuid().as_raw();
        Report {
            summary: found.summary(groups),
            full: found.reduced.is_empty(),
            walls: Standing {
                seccomp: in_force.seccomp,
                user_namespace: walls.user,
                mount_namespace: walls.mount,
                other_namespaces: walls.others,
                landlock: in_force.landlock,
                no_new_code: in_force.no_new_code,
                uid: walls.uid.unwrap_or(own),
                cgroup: groups.controllers(),
            },
            reduced: found.reduced.clone(),
            advice: advice(found, groups),
        }
    }
}

fn advice(found: &Found, groups: &Groups) -> Vec<Advice> {
    let (walls, in_force) = (&found.walls, found.in_force);
    let all = [
        (
            !walls.user,
            "user namespaces",
            "raise user.max_user_namespaces; on Debian set kernel.unprivileged_userns_clone=1; on \
             Ubuntu set kernel.apparmor_restrict_unprivileged_userns=0 or give host an AppArmor \
             profile; in a container allow unshare and clone in its seccomp profile",
        ),
        (
            !walls.mount,
            "mount namespace",
            "needs user namespaces or CAP_SYS_ADMIN, and a root that is not the initial ramdisk",
        ),
        (
            in_force.landlock == 0,
            "Landlock",
            "boot with `landlock` in the lsm= list, or take Linux 5.13 or later",
        ),
        (
            matches!(in_force.landlock, 1..6),
            "Landlock",
            "Linux 6.12 or later guards signals and abstract sockets as well",
        ),
        (!in_force.no_new_code, "memory-deny-write-execute", "take Linux 6.3 or later"),
        (
            !groups.has("memory"),
            "cgroup",
            "a watchdog looks at the workers' memory once a second instead; run as root, or under \
             systemd with Delegate=yes, and the kernel bounds it at once",
        ),
        (
            walls.uid.is_none(),
            "user",
            "host is not root, so its workers share its user id; what that user may read, only \
             Landlock and namespaces keep from them",
        ),
    ];
    let wanted = all.into_iter().filter(|(missing, ..)| *missing);
    wanted.map(|(_, about, text)| Advice { about, text }).collect()
}

/// What some processes may call, or may not.
#[derive(Serialize)]
struct Calls {
    of: &'static str,
    calls: Vec<Call>,
}

#[derive(Serialize)]
struct Call {
    number: i64,
    /// Only with some arguments.
    some_arguments: bool,
    why: &'static str,
}

fn calls() -> Vec<Calls> {
    let allowed = [
        ("a worker, while it serves", rules::SERVE),
        ("besides, while it loads its artifact", rules::LOAD),
        ("besides, in a process that forks for WebAssembly programs", rules::FORK),
        ("besides, where --dir is given", rules::FILES),
        ("the process that opens files", brokers::FILES),
        ("the compiler", rules::COMPILE),
    ];
    let allowed = allowed.into_iter().map(|(of, list)| {
        let call = |rule: &Rule| Call {
            number: rule.call,
            some_arguments: !rule.when.is_empty(),
            why: rule.why,
        };
        Calls { of, calls: list.iter().map(call).collect() }
    });
    let always =
        |(number, why): &(i64, &'static str)| Call { number: *number, some_arguments: false, why };
    let refused = rules::REFUSED.iter().flat_map(|(_, calls)| *calls);
    allowed
        .chain([
            Calls {
                of: "refused to the resolver, which may do anything else",
                calls: denied::to_resolver().map(always).collect(),
            },
            Calls {
                of: "refused to native programs, which may do anything else",
                calls: denied::to_programs().map(always).collect(),
            },
            Calls {
                of: "turned into a question to the process that opens files, where --dir is given",
                calls: rules::PATHS.iter().map(always).collect(),
            },
            Calls { of: "answered with an error", calls: refused.map(always).collect() },
        ])
        .collect()
}

fn print_calls(all: &Vec<Calls>) {
    for Calls { of, calls } in all {
        println!("{of}:");
        for Call { number, some_arguments, why } in calls {
            let some = if *some_arguments { " (some arguments)" } else { "" };
            println!("  {number:>4}{some}: {why}");
        }
    }
}
