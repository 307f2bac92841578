//! Looks at processes through /proc and signals them.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

/// The live children of a process; zombies are not counted.
pub fn children(parent: u32) -> Vec<u32> {
    all().filter(|(_, state, ppid)| *ppid == parent && *state != 'Z').map(|(pid, ..)| pid).collect()
}

/// Whether there are children that are dead but not reaped.
pub fn has_zombies(parent: u32) -> bool {
    all().any(|(_, state, ppid)| ppid == parent && state == 'Z')
}

fn all() -> impl Iterator<Item = (u32, char, u32)> {
    let entries = std::fs::read_dir("/proc").expect("read /proc");
    entries.filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let (state, ppid) = state_and_parent(pid)?;
        Some((pid, state, ppid))
    })
}

fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, brackets too.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// What `ps` shows.
pub fn title(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// A child that calls itself something that begins like this.
pub fn child_titled(parent: u32, start: &str) -> Option<u32> {
    children(parent).into_iter().find(|pid| title(*pid).starts_with(start))
}

pub fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

pub fn signal(pid: u32, signal: Signal) {
    match kill(Pid::from_raw(pid as i32), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(cause) => panic!("signal {pid}: {cause}"),
    }
}

pub fn signal_group(leader: u32, signal: Signal) {
    // There may be nobody left in it.
    let _ = nix::sys::signal::killpg(Pid::from_raw(leader as i32), signal);
}

/// How often the threads of a process have begun to run after they had waited for something.
fn wake_ups(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a live process");
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    threads.filter_map(of_thread).sum()
}

/// Waits until for two seconds none of these has run, not even what idles for a while.
pub fn wait_quiet(all: &[u32]) {
    let count = || all.iter().map(|pid| wake_ups(*pid)).collect::<Vec<_>>();
    super::wait_for("two seconds of quiet", || {
        let before = count();
        std::thread::sleep(Duration::from_secs(2));
        (count() == before).then_some(())
    });
}

/// The most memory a process ever had resident, in KiB.
pub fn peak_memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
}

/// How many descriptors a process has open.
pub fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Everybody whose title begins like this.
pub fn with_title(start: &str) -> Vec<u32> {
    all().map(|(pid, ..)| pid).filter(|pid| title(*pid).starts_with(start)).collect()
}
