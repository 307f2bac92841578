//! What all connections of a worker share, and how it ends: the plugin, its instances, the
//! connections now open, and the drain that empties them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;

use super::access_log::AccessLog;
use super::conn::{ConnState, Phase, Released};
use super::epoch::Epoch;
use super::failure::Failure;
use super::imports::{Drained, Shared};
use super::plugin::Plugin;
use super::resident::Resident;
use super::settings::{Limits, Settings};
use super::state::State;
use super::stdio::Output;
use super::ticket::InFlight;
use super::{tcp, wasi02, wasi03};
use crate::scoreboard::Scoreboard;

pub struct Worker {
    pub settings: Settings,
    pub plugin: Plugin,
    pub scoreboard: Scoreboard,
    pub epoch: Epoch,
    pub stderr: Output,
    pub access_log: Option<AccessLog>,
    pub live: LiveInstances,
    pub sequential: wasi02::Pool,
    pub concurrent: wasi03::Pool,
    pub raw: tcp::Pool,
    pub shared: Arc<Shared>,
    pub resident: Resident,
    pub in_flight: InFlight,
    main_runs: Cell<bool>,
    connections: RefCell<HashMap<u64, Arc<ConnState>>>,
    next_connection: Cell<u64>,
    sweep: Cell<u32>,
    sweeping: Cell<bool>,
    drain: RefCell<Option<Drain>>,
    empty: Notify,
    /// A connection has been closed.
    room: Notify,
}

/// What becomes of connections between two requests.
#[derive(Clone)]
pub enum Drain {
    /// Closed, after a moment for a request that may already be on its way.
    Close,
    /// Given back open, where their protocol allows it.
    Release(Rc<dyn Fn(Released)>),
}

/// How long a connection that was just in use is left open for one more request before a drain
/// closes it; that request's answer says `connection: close`.
const GRACE: Duration = Duration::from_millis(250);
const DRAIN_SWEEP: Duration = Duration::from_millis(50);

impl Worker {
    pub fn new(
        settings: Settings,
        plugin: Plugin,
        shared: Arc<Shared>,
        resident: Resident,
        stderr: Output,
        access_log: Option<AccessLog>,
    ) -> Result<Rc<Worker>> {
        let scoreboard = shared.scoreboard.clone();
        Ok(Rc::new(Worker {
            epoch: Epoch::start(&plugin.engine, shared.turns.clone())?,
            live: LiveInstances::new(settings.limits.max_instances, scoreboard.clone()),
            sequential: wasi02::Pool::new(&settings.limits),
            concurrent: wasi03::Pool::new(&settings.limits),
            raw: tcp::Pool::default(),
            main_runs: Cell::new(plugin.main.is_some()),
            shared,
            resident,
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            sweep: Cell::new(0),
            sweeping: Cell::new(false),
            drain: RefCell::new(None),
            empty: Notify::new(),
            room: Notify::new(),
            in_flight: InFlight::new(settings.limits.max_requests_in_flight),
            settings,
            plugin,
            scoreboard,
            stderr,
            access_log,
        }))
    }

    /// Waits until what was printed and logged has been written, within `limit` each.
    pub async fn flush_output(&self, limit: Duration) {
        self.plugin.template.flush_output(limit).await;
        if let Some(log) = &self.access_log {
            log.flush(limit).await;
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Runs plugin code, under the clock that makes it give way.
    pub async fn in_turn<T>(&self, work: impl Future<Output = T>) -> T {
        self.epoch.in_turn(work).await
    }

    /// The plugin's main loop has returned.
    pub fn main_ended(&self) {
        self.main_runs.set(false);
        self.empty.notify_waiters();
    }

    /// A main loop that never asks whether the worker drains is not waited for.
    fn waits_for_main(&self) -> bool {
        self.main_runs.get() && self.shared.watches_drain()
    }

    /// Says on stderr what a plugin did wrong; what a client did wrong is its own business.
    pub fn report(&self, failure: &Failure) {
        if let Some(reason) = failure.reason() {
            self.stderr.line(&reason);
        }
    }

    pub fn trapped(&self, error: &wasmtime::Error, state: &State) -> Failure {
        self.scoreboard.traps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Failure::trapped(error, state.memory.refused)
    }

    /// Ends when every connection has ended. Requests in flight are completed; there is no deadline
    /// here, that is the primary's.
    pub async fn drain(self: &Rc<Self>, how: Drain) {
        self.shared.start_draining(match how {
            Drain::Close => Drained::Alone,
            Drain::Release(_) => Drained::HandBack,
        });
        *self.drain.borrow_mut() = Some(how);
        for connection in self.connections.borrow().values() {
            connection.wake();
        }
        self.start_sweeping();
        self.resident.drain().await;
        while !self.connections.borrow().is_empty() || self.waits_for_main() {
            self.empty.notified().await;
        }
    }

    /// Until it has fewer connections than it may have.
    pub async fn wait_for_room(&self) {
        let most = self.limits().max_connections;
        while most > 0 && self.connections.borrow().len() as u64 >= most {
            self.room.notified().await;
        }
    }

    pub fn draining(&self) -> Option<Drain> {
        self.drain.borrow().clone()
    }

    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Whether a drain may now close a connection that is between requests.
    pub fn grace_is_over(&self, connection: &ConnState) -> bool {
        u64::from(connection.age()) * (DRAIN_SWEEP.as_millis() as u64) >= GRACE.as_millis() as u64
    }

    /// Counts a connection as open until `left` is told the number.
    pub fn enroll(self: &Rc<Self>, state: &Arc<ConnState>) -> u64 {
        self.scoreboard.connection_opened();
        let id = self.next_connection.replace(self.next_connection.get() + 1);
        state.born(self.sweep.get());
        self.connections.borrow_mut().insert(id, state.clone());
        self.start_sweeping();
        id
    }

    pub fn left(&self, id: u64) {
        self.scoreboard.connection_closed();
        let mut connections = self.connections.borrow_mut();
        connections.remove(&id);
        self.room.notify_one();
        if connections.is_empty() {
            self.empty.notify_waiters();
        }
    }

    fn start_sweeping(self: &Rc<Self>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(self.clone().sweep_while_connected());
        }
    }

    /// One timer for all time-outs of connections, instead of several per request. It is coarse: a
    /// connection lives up to a quarter longer than its limit. It runs while there are connections.
    async fn sweep_while_connected(self: Rc<Self>) {
        while !self.connections.borrow().is_empty() {
            let period = self.sweep_period();
            tokio::time::sleep(period).await;
            let now = self.sweep.get().wrapping_add(1);
            self.sweep.set(now);
            let draining = self.is_draining();
            for connection in self.connections.borrow().values() {
                connection.sweep(now);
                let limit = self.limit_of(connection);
                if !limit.is_zero() && period * connection.age().saturating_sub(1) >= limit {
                    connection.expire();
                } else if draining {
                    connection.wake();
                }
            }
        }
        self.sweeping.set(false);
    }

    fn sweep_period(&self) -> Duration {
        if self.is_draining() {
            return DRAIN_SWEEP;
        }
        let limits = self.limits();
        let shortest = limits.header_timeout.min(limits.keep_alive_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    fn limit_of(&self, connection: &ConnState) -> Duration {
        match connection.phase() {
            Phase::Fresh | Phase::Head => self.limits().header_timeout,
            Phase::Idle => self.limits().keep_alive_timeout,
            Phase::Busy | Phase::Finishing if connection.blocked() => {
                self.limits().keep_alive_timeout
            }
            Phase::Busy | Phase::Finishing => Duration::ZERO,
        }
    }
}

/// A connection's place in the list of open ones.
pub struct Enrolled {
    worker: Rc<Worker>,
    id: u64,
}

impl Enrolled {
    pub fn new(worker: &Rc<Worker>, state: &Arc<ConnState>) -> Enrolled {
        Enrolled { worker: worker.clone(), id: worker.enroll(state) }
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.worker.left(self.id);
    }
}

/// Counts instances against their limit.
#[derive(Clone)]
pub struct LiveInstances(Rc<(Cell<u32>, u32, Scoreboard)>);

impl LiveInstances {
    fn new(max: u32, scoreboard: Scoreboard) -> LiveInstances {
        LiveInstances(Rc::new((Cell::new(0), max, scoreboard)))
    }

    pub fn one_more(&self) -> Option<Live> {
        let (count, max, scoreboard) = &*self.0;
        if count.get() >= *max {
            return None;
        }
        count.set(count.get() + 1);
        scoreboard.instance_created();
        Some(Live(self.clone()))
    }
}

/// Exists exactly as long as one instance.
pub struct Live(LiveInstances);

impl Drop for Live {
    fn drop(&mut self) {
        let (count, _, scoreboard) = &*self.0.0;
        count.set(count.get() - 1);
        scoreboard.instance_dropped();
    }
}
