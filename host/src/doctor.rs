//! `host doctor`: what is in force on this machine, why anything is missing, what to do about it.

use anyhow::Result;

use crate::sandbox::cgroup::Groups;
use crate::sandbox::probe::{self, Found};
use crate::sandbox::seccomp::{denied, rules};

pub fn run(system_calls: bool) -> Result<()> {
    if system_calls {
        print_system_calls();
        return Ok(());
    }
    let found = probe::probe()?;
    let groups = Groups::claim();
    groups.release();
    println!("{}", found.summary(&groups));
    for advice in advice(&found, &groups) {
        println!("  - {advice}");
    }
    Ok(())
}

fn advice(found: &Found, groups: &Groups) -> Vec<&'static str> {
    let mut advice = Vec::new();
    if !found.walls.user {
        advice.push(
            "user namespaces: raise user.max_user_namespaces; on Debian set \
             kernel.unprivileged_userns_clone=1; on Ubuntu set \
             kernel.apparmor_restrict_unprivileged_userns=0 or give host an AppArmor profile; in a \
             container allow unshare and clone in its seccomp profile",
        );
    }
    if !found.walls.mount {
        advice.push(
            "mount namespace: needs user namespaces or CAP_SYS_ADMIN, and a root that is not the \
             initial ramdisk",
        );
    }
    if found.in_force.landlock == 0 {
        advice.push("Landlock: boot with `landlock` in the lsm= list, or take Linux 5.13 or later");
    } else if found.in_force.landlock < 6 {
        advice.push("Landlock: Linux 6.12 or later guards signals and abstract sockets as well");
    }
    if !found.in_force.no_new_code {
        advice.push("memory-deny-write-execute: take Linux 6.3 or later");
    }
    if !groups.has("memory") {
        advice.push(
            "cgroup: a watchdog looks at the workers' memory once a second instead; run as root, or \
             under systemd with Delegate=yes, and the kernel bounds it at once",
        );
    }
    if found.walls.uid.is_none() {
        advice.push(
            "user: host is not root, so its workers share its user id; what that user may read, \
             only Landlock and namespaces keep from them",
        );
    }
    advice
}

fn print_system_calls() {
    for (title, list) in [
        ("a worker, while it serves", rules::SERVE),
        ("besides, while it loads its artifact", rules::LOAD),
        ("besides, in a process that forks for WebAssembly programs", rules::FORK),
        ("besides, where --dir is given", rules::FILES),
        ("the compiler", rules::COMPILE),
    ] {
        println!("{title}:");
        for rule in list {
            let some = if rule.when.is_empty() { "" } else { " (some arguments)" };
            println!("  {:>4}{some}: {}", rule.call, rule.why);
        }
    }
    println!("refused to the resolver, which may do anything else:");
    for (call, why) in denied::to_resolver() {
        println!("  {call:>4}: {why}");
    }
    println!("refused to native programs, which may do anything else:");
    for (call, why) in denied::to_programs() {
        println!("  {call:>4}: {why}");
    }
    println!("answered with an error:");
    for (call, why) in rules::REFUSED.iter().flat_map(|(_, calls)| *calls) {
        println!("  {call:>4}: {why}");
    }
}
