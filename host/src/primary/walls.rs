//! What holds one worker, for `host status`: as the kernel tells of the process now, and as the
//! probe found for what the kernel does not tell.

use super::workers::Worker;
use crate::control::protocol::WallStatus;
use crate::sandbox::probe;

pub fn of(worker: &Worker) -> WallStatus {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid()));
    let status = status.unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|text| text.split_whitespace().next()).unwrap_or_default().to_owned()
    };
    let seccomp = field("Seccomp").parse().unwrap_or(0);
    let mut walls = WallStatus {
        sandbox: "none".to_owned(),
        seccomp,
        no_new_privs: field("NoNewPrivs") == "1",
        capabilities: field("CapEff"),
        uid: field("Uid").parse().unwrap_or(0),
        memory_limit: worker.memory_limit,
        limited_by: "watchdog".to_owned(),
        ..WallStatus::default()
    };
    if worker.confinement.bounds_memory() {
        walls.limited_by = "cgroup".to_owned();
    }
    let Some(found) = probe::found().filter(|found| !found.walls.insecure && seccomp == 2) else {
        return walls;
    };
    walls.sandbox = found.word().to_owned();
    walls.landlock = found.in_force.landlock;
    walls.no_new_code = found.in_force.no_new_code;
    walls.namespaces = found.walls.namespaces().into_iter().map(str::to_owned).collect();
    walls
}
