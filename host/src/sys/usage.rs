//! The processor time of process trees, from what `/proc` says of every process.

use std::collections::HashMap;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// One process: what it used itself, and what those it has waited for used.
struct Process {
    parent: i32,
    own: u64,
    reaped: u64,
}

/// What the descendants of each root have used, dead or alive; without the root itself.
///
/// Not every kernel lists a process's children, so all processes are read: some milliseconds where
/// there are hundreds.
pub fn beneath(roots: &[i32]) -> Vec<Duration> {
    let all = processes();
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, process) in &all {
        children.entry(process.parent).or_default().push(*pid);
    }
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100).max(1) as u64;
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / per_second);
    roots.iter().map(|root| time(used_beneath(*root, &all, &children))).collect()
}

fn used_beneath(root: i32, all: &HashMap<i32, Process>, children: &HashMap<i32, Vec<i32>>) -> u64 {
    let mut used = all.get(&root).map_or(0, |process| process.reaped);
    let mut next: Vec<i32> = children.get(&root).cloned().unwrap_or_default();
    while let Some(pid) = next.pop() {
        used += all.get(&pid).map_or(0, |process| process.own + process.reaped);
        next.extend(children.get(&pid).into_iter().flatten());
    }
    used
}

fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return HashMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| Some((pid, Process::read(pid)?))).collect()
}

impl Process {
    /// `None` if it is gone.
    fn read(pid: i32) -> Option<Process> {
        Process::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name may hold anything, spaces and parentheses too; what comes after the last one does not.
    fn parse(stat: &str) -> Option<Process> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // Counted from the third, the state.
        let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Process {
            parent: number(4)? as i32,
            own: number(14)? + number(15)?,
            reaped: number(16)? + number(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_numbers() {
        let stat = "7 (a) R 1 2) S 5 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 99";
        let process = Process::parse(stat).expect("a process");
        assert_eq!((process.parent, process.own, process.reaped), (5, 23, 27));
    }

    #[test]
    fn a_tree_is_all_that_lives_beneath_a_process_and_all_it_has_waited_for() {
        let process = |parent, own, reaped| Process { parent, own, reaped };
        let all = HashMap::from([
            (2, process(1, 1000, 1)),
            (3, process(2, 10, 20)),
            (4, process(3, 100, 200)),
            (5, process(1, 5000, 5000)),
        ]);
        let children = HashMap::from([(1, vec![2, 5]), (2, vec![3]), (3, vec![4])]);
        assert_eq!(used_beneath(2, &all, &children), 331);
        assert_eq!(used_beneath(9, &all, &children), 0);
    }
}
