//! Kills a worker that takes the machine's memory, before the kernel has to choose whom to kill. It
//! stands in for a memory cgroup of each worker's own, which only root can make, and not everywhere.

use std::time::Duration;

use tokio::sync::Notify;

use crate::sys;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Three quarters of what the machine has, or the host's own cgroup if that is less.
pub fn ceiling() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits = limits.map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let least =
        limits.iter().filter_map(|text| text.trim().parse().ok()).chain(total(&machine)).min();
    least.map_or(u64::MAX, |bytes: u64| bytes / 4 * 3)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Ends when the process holds more than that, with how much; never if it does not live to. Looks
/// while `busy`, and once more after; then it sleeps until woken, so that idle hosts stay asleep.
pub async fn grows_beyond(pid: i32, ceiling: u64, woken: &Notify, busy: impl Fn() -> bool) -> u64 {
    loop {
        let was_busy = busy();
        tokio::time::sleep(LOOK_EVERY).await;
        match sys::resident_memory(pid) {
            Some(resident) if resident > ceiling => return resident,
            Some(_) => {}
            None => return std::future::pending().await,
        }
        if !was_busy {
            woken.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_memory_is_read_in_bytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24731708 kB\n"), Some(24731708 << 10));
        assert_eq!(total("MemTotal: lots"), None);
        assert!(ceiling() > 1 << 20);
    }
}
