//! Control groups, one for each worker and the primary program, where this process may make any: the
//! kernel then bounds its memory the moment it grows, counts threads, and leaves the primary a share of the
//! CPU. In version 1 all of them together have one share, in version 2 each.
//! Version 1 has a tree for each controller; version 2 one for all, in which a process may not live
//! beside groups, so the primary moves into one of its own first.

mod trees;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, ensure};
use trees::{offered, trees};

const WANTED: [&str; 3] = ["memory", "cpu", "pids"];
/// Before it is sealed a worker starts a handful of threads; afterwards none.
const MAX_THREADS: u64 = 64;
/// Groups of one host are below this name and its pid.
const PREFIX: &str = "host-";
/// Where the primary lives in version 2.
const OWN: &str = "primary";

static CLAIMED: OnceLock<Groups> = OnceLock::new();

/// The directories of one host, by controller.
#[derive(Debug, Default)]
pub struct Groups {
    places: Vec<Place>,
}

#[derive(Debug, PartialEq)]
struct Place {
    version: u8,
    controllers: Vec<String>,
    /// Holds the groups of the workers.
    dir: PathBuf,
}

/// Gives the groups back when the host ends.
#[must_use]
pub struct Claim(());

/// Finds out what can be had, and keeps it for `claimed`.
pub fn decide(wanted: bool) -> Claim {
    let groups = if wanted { Groups::claim() } else { Groups::default() };
    let _ = CLAIMED.set(groups);
    Claim(())
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().release();
    }
}

pub fn claimed() -> &'static Groups {
    CLAIMED.get_or_init(Groups::default)
}

impl Groups {
    /// Makes a directory in every tree that allows it. What fails is not there: the watchdog of the
    /// primary does without.
    pub fn claim() -> Groups {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (mounts, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        let mut groups = Groups::default();
        for tree in trees(&mounts, &own) {
            sweep(&tree.dir);
            let missing = |name: &String| !groups.has(name);
            let controllers: Vec<String> = tree.controllers.into_iter().filter(missing).collect();
            let claimed = match (controllers.is_empty(), tree.version) {
                (true, _) => continue,
                (_, 2) => claim_unified(&tree.dir, controllers),
                _ => claim_separate(&tree.dir, controllers),
            };
            groups.places.extend(claimed);
        }
        groups
    }

    pub fn has(&self, controller: &str) -> bool {
        self.places.iter().any(|place| place.controllers.iter().any(|name| name == controller))
    }

    pub fn controllers(&self) -> Vec<String> {
        self.places.iter().flat_map(|place| place.controllers.clone()).collect()
    }

    /// For the start-up line and `host doctor`.
    pub fn summary(&self) -> String {
        let of = |version: u8| {
            let places = self.places.iter().filter(|place| place.version == version);
            let names: Vec<&str> =
                places.flat_map(|place| &place.controllers).map(String::as_str).collect();
            (!names.is_empty()).then(|| format!("cgroup v{version} {}", names.join(",")))
        };
        let mut parts: Vec<String> = [of(2), of(1)].into_iter().flatten().collect();
        if !self.has("memory") {
            parts.push("memory watchdog".to_owned());
        }
        parts.join(", ")
    }

    /// A group for this process, with room for so many bytes. A tree that does not take it is left
    /// out: one of the CPU, for example, refuses processes with real-time priority.
    pub fn group(&self, name: &str, memory: u64, pid: i32) -> Option<Group> {
        let mut group = Group { dirs: Vec::new(), bounds_memory: false };
        for place in &self.places {
            if place.is_shared() {
                let _ = place.join(&place.dir, pid);
                continue;
            }
            let dir = place.dir.join(name);
            match place.take(&dir, memory, pid) {
                Ok(()) => {
                    group.bounds_memory |= place.controllers.iter().any(|name| name == "memory");
                    group.dirs.push(dir);
                }
                Err(_) => drop(fs::remove_dir(&dir)),
            }
        }
        (!group.dirs.is_empty()).then_some(group)
    }

    /// Takes the directories away; workers must be gone.
    pub fn release(&self) {
        for place in &self.places {
            if place.version == 2
                && let Some(base) = place.dir.parent()
            {
                // The last process leaves, or there is nobody to say it to.
                let _ = fs::write(base.join("cgroup.procs"), std::process::id().to_string());
            }
            remove(&place.dir);
        }
    }
}

impl Place {
    /// One group of the CPU is enough: a plugin has one thread, and threads have equal shares. To go from a
    /// process in one group to one in another takes the kernel a fifth longer.
    fn is_shared(&self) -> bool {
        self.version == 1 && self.controllers == ["cpu"]
    }

    fn join(&self, dir: &Path, pid: i32) -> io::Result<()> {
        fs::write(dir.join("cgroup.procs"), pid.to_string())
    }

    fn take(&self, dir: &Path, memory: u64, pid: i32) -> io::Result<()> {
        fs::create_dir(dir)?;
        let set = |file: &str, value: u64| fs::write(dir.join(file), value.to_string());
        for controller in &self.controllers {
            match (controller.as_str(), self.version) {
                ("memory", 1) => set("memory.limit_in_bytes", memory)?,
                ("memory", _) => set("memory.max", memory)?,
                ("pids", _) => set("pids.max", MAX_THREADS)?,
                // Equal shares are what a new group has.
                _ => {}
            }
        }
        self.join(dir, pid)
    }
}

/// The groups of one process, gone when dropped.
#[derive(Debug)]
pub struct Group {
    dirs: Vec<PathBuf>,
    pub bounds_memory: bool,
}

impl Group {
    /// Whether the kernel killed it for want of memory.
    pub fn ran_out(&self) -> bool {
        let files = ["memory.events", "memory.oom_control"];
        let mut counts = self.dirs.iter().flat_map(|dir| files.map(|file| dir.join(file)));
        counts.any(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|n| n != "0")
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.dirs.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

fn claim_separate(base: &Path, controllers: Vec<String>) -> Option<Place> {
    let dir = base.join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir(&dir).ok()?;
    Some(Place { version: 1, controllers, dir })
}

fn claim_unified(base: &Path, controllers: Vec<String>) -> Option<Place> {
    let me = std::process::id().to_string();
    let dir = base.join(format!("{PREFIX}{me}"));
    let enter = || -> Result<()> {
        fs::create_dir(&dir)?;
        fs::create_dir(dir.join(OWN))?;
        fs::write(dir.join(OWN).join("cgroup.procs"), &me)?;
        let on: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        for level in [base, &dir] {
            fs::write(level.join("cgroup.subtree_control"), on.join(" "))?;
        }
        let now = offered(&dir);
        ensure!(controllers.iter().all(|name| now.contains(name)), "not delegated");
        Ok(())
    };
    if enter().is_err() {
        let _ = fs::write(base.join("cgroup.procs"), &me);
        remove(&dir);
        return None;
    }
    Some(Place { version: 2, controllers, dir })
}

/// What hosts that were killed have left behind.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&entry.path());
        }
    }
}

/// A group is removed as a directory; one with processes in it stays.
fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_limits_of_its_own_name() {
        let base = std::env::temp_dir().join(format!("host-groups-{}", std::process::id()));
        for (version, file) in [(1, "memory.limit_in_bytes"), (2, "memory.max")] {
            let dir = base.join(version.to_string());
            fs::create_dir_all(&dir).unwrap();
            let controllers = WANTED.map(str::to_owned).to_vec();
            let groups = Groups { places: vec![Place { version, controllers, dir }] };
            let group = groups.group("worker-1", 4096, 77).expect("a group");
            let read = |file: &str| fs::read_to_string(group.dirs[0].join(file)).unwrap();
            assert!(group.bounds_memory);
            assert_eq!([read(file), read("pids.max"), read("cgroup.procs")], ["4096", "64", "77"]);
            fs::write(group.dirs[0].join("memory.events"), "oom 1\noom_kill 0\n").unwrap();
            assert!(!group.ran_out());
            fs::write(group.dirs[0].join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
            assert!(group.ran_out());
        }
        fs::remove_dir_all(base).unwrap();
    }
}
