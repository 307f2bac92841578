//! When to start a worker again: at once after a healthy life or a first death, then ever later.

use std::time::Duration;

const HEALTHY: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// Early deaths in a row that count as a crash loop.
const LOOP: u32 = 4;

/// The deaths of one worker's place in a pool.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Backoff {
    early_deaths: u32,
}

impl Backoff {
    /// Notes a death after `lived` and says how long to wait before the next start.
    pub fn died(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY {
            self.early_deaths = 0;
            return Duration::ZERO;
        }
        self.early_deaths = self.early_deaths.saturating_add(1);
        match self.early_deaths {
            1 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 2).min(16)).min(LONGEST),
        }
    }

    pub fn early_deaths(&self) -> u32 {
        self.early_deaths
    }

    pub fn crash_looping(&self) -> bool {
        self.early_deaths >= LOOP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_costs_nothing_then_waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> =
            (0..10).map(|_| backoff.died(Duration::from_secs(1)).as_millis() as u64).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert!(backoff.crash_looping());
        assert_eq!(backoff.died(HEALTHY), Duration::ZERO);
        assert!(!backoff.crash_looping());
        assert_eq!(backoff.died(Duration::ZERO), Duration::ZERO);
    }
}
