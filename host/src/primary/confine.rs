//! What the primary bounds a worker's memory with, from outside: a control group where one can be had,
//! else a watchdog and a limit on what it can map at all.

use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::child::End;
use super::pool::Pool;
use super::workers::{State, Worker};
use super::{Event, Events, WorkerId, watchdog};
use crate::config::PoolConfig;
use crate::sandbox::cgroup::{self, Group};
use crate::sandbox::probe;
use crate::sys;
use crate::worker::settings::Limits;

/// Fiber stacks and tables an instance may have mapped besides its memory.
const MAPPED_BESIDES: u64 = 4 << 20;
/// Machine code, the runtime and buffers.
const MAPPED_ANYWAY: u64 = 1 << 30;

/// What bounds one worker.
#[derive(Default)]
pub enum Confinement {
    /// It is being moved into its group.
    #[default]
    Begun,
    /// It is being moved, and waits only for that.
    Awaited,
    /// A group does what the watchdog does, and sooner.
    Bounded(Group),
    Watched {
        group: Option<Group>,
        _watchdog: Watchdog,
    },
}

impl Confinement {
    pub fn group(&self) -> Option<&Group> {
        match self {
            Confinement::Bounded(group) => Some(group),
            Confinement::Watched { group, .. } => group.as_ref(),
            _ => None,
        }
    }

    pub fn bounds_memory(&self) -> bool {
        matches!(self, Confinement::Bounded(_))
    }
}

/// Looks no more once it is dropped.
pub struct Watchdog(JoinHandle<()>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Of a worker, and of the primary program.
pub fn memory_limit(config: &PoolConfig) -> u64 {
    config.worker_memory_limit.unwrap_or_else(watchdog::ceiling)
}

/// How a process with such a limit ended, in words.
pub fn describe(end: End, group: Option<&Group>, limit: u64) -> String {
    match group {
        Some(group) if group.ran_out() => {
            format!("{end}: it held the {} MiB its cgroup allows", limit >> 20)
        }
        _ => end.to_string(),
    }
}

/// Counts what is never touched, too, and so is generous.
pub fn limit_mapped(process: &sys::Child, memory: u64, limits: &Limits) -> Result<()> {
    if probe::decided()?.insecure {
        return Ok(());
    }
    let each = MAPPED_BESIDES + u64::from(limits.max_stack_size);
    let stacks = u64::from(limits.max_instances) * each;
    let mapped = memory.saturating_mul(2).saturating_add(stacks + MAPPED_ANYWAY);
    sys::walls::limit_mapped_memory(process, mapped)
}

/// The kernel can take tens of milliseconds to move a process. A thread waits for it, so that everybody else
/// is served.
pub async fn enter_group(name: String, memory: u64, pid: i32) -> Option<Group> {
    if probe::decided().is_ok_and(|walls| walls.insecure) {
        return None;
    }
    let enter = move || cgroup::claimed().group(&name, memory, pid);
    tokio::task::spawn_blocking(enter).await.unwrap_or_default()
}

impl Worker {
    /// Meanwhile it loads its plugin. The receiver hears when it is done.
    pub(super) fn confine(&self, events: Events) -> oneshot::Receiver<()> {
        let (done, confined) = oneshot::channel();
        let (id, pid, memory) = (self.id, self.pid(), self.memory_limit);
        tokio::task::spawn_local(async move {
            let group = enter_group(format!("worker-{id}"), memory, pid).await;
            let _ = events.send(Event::Confined(id, group));
            let _ = done.send(());
        });
        confined
    }

    fn watch_memory(&self, events: Events) -> Watchdog {
        let (id, pid, woken) = (self.id, self.pid(), self.given.clone());
        let (scoreboard, limit) = (self.scoreboard.clone(), self.memory_limit);
        // Of connections it accepts itself we hear nothing, and have to look all the time.
        let accepts = self.generation.config().balance.workers_accept();
        Watchdog(tokio::task::spawn_local(async move {
            let busy = || accepts || scoreboard.connections_open.load(Relaxed) > 0;
            let resident = watchdog::grows_beyond(pid, limit, &woken, busy).await;
            let _ = events.send(Event::Broken(id, format!("holds {} MiB", resident >> 20)));
        }))
    }
}

impl Pool {
    /// Whether a worker that says it is ready may be believed; if not yet, it is once it is confined.
    pub(super) fn is_confined(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        let begun = matches!(worker.confinement, Confinement::Begun | Confinement::Awaited);
        if begun {
            worker.confinement = Confinement::Awaited;
        }
        !begun
    }

    pub fn confined(&mut self, id: WorkerId, group: Option<Group>) -> Result<()> {
        let events = self.links.events.clone();
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        let now = match group {
            Some(group) if group.bounds_memory => Confinement::Bounded(group),
            group => Confinement::Watched { group, _watchdog: worker.watch_memory(events) },
        };
        let before = std::mem::replace(&mut worker.confinement, now);
        match before {
            Confinement::Awaited if worker.state == State::Starting => self.ready(id),
            _ => Ok(()),
        }
    }
}
