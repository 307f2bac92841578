//! What a service manager is told: ready, reloading, stopping, and that we are alive. Without
//! `NOTIFY_SOCKET` nothing is said and nothing wakes up.

use std::time::Duration;

use sd_notify::NotifyState;

use super::fleet::Fleet;
use super::pool::Phase;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

pub struct Service {
    wanted: bool,
    said: Said,
}

impl Service {
    pub fn new() -> Service {
        Service { wanted: std::env::var_os("NOTIFY_SOCKET").is_some(), said: Said::Nothing }
    }

    /// How often the manager wants to hear that the event loop runs: half of what it allows.
    pub fn heartbeat(&self) -> Option<tokio::time::Interval> {
        let limit = sd_notify::watchdog_enabled().filter(|_| self.wanted)?;
        let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Some(ticks)
    }

    /// From now on another process is the service's main one.
    pub fn succeeded_by(pid: u32) {
        let _ = sd_notify::notify(&[NotifyState::MainPid(pid)]);
    }

    pub fn beat(&self) {
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }

    /// Says what has changed since the last time.
    pub fn follow(&mut self, fleet: &Fleet) {
        if !self.wanted {
            return;
        }
        let now = state(fleet);
        if now == self.said {
            return;
        }
        let generations: Vec<String> = fleet
            .pools
            .iter()
            .map(|pool| format!("{} generation {}", pool.config.name, pool.current.number))
            .collect();
        self.said = now;
        let text = format!("serving {}", generations.join(", "));
        let told = match now {
            Said::Nothing => Ok(()),
            Said::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&text)]),
            Said::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(at) => sd_notify::notify(&[NotifyState::Reloading, at]),
                Err(error) => Err(error),
            },
            Said::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        };
        if let Err(error) = told {
            fleet.output.log(&format!("tell the service manager: {error}"));
        }
    }
}

fn state(fleet: &Fleet) -> Said {
    let any = |phase| fleet.pools.iter().any(|pool| pool.phase == phase);
    if any(Phase::Stopping) {
        return Said::Stopping;
    }
    if any(Phase::Starting) || fleet.pools.is_empty() {
        return Said::Nothing;
    }
    match fleet.pools.iter().any(|pool| pool.reloads.is_active()) {
        true => Said::Reloading,
        false => Said::Ready,
    }
}
