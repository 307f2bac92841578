//! Passes accepted connections to workers.

use std::time::Duration;

use super::accepted::Accepted;
use super::balance::{self, Load};
use super::pool::{Phase, Pool};
use super::workers::{State, Worker};
use super::{Event, WorkerId};
use crate::ipc::message::ConnectionId;
use nix::sys::signal::Signal;

/// Connections that may wait here before the accept loop pauses; the kernel queues the rest.
const WAITING: usize = 64;

/// How soon a connection that waits for room in a worker is tried again: workers do not say when they
/// have closed one.
const SOON: Duration = Duration::from_millis(10);

impl Pool {
    /// A connection that has just come in.
    pub fn admit(&mut self, mut connection: Accepted) {
        let limit = self.config.max_connections_per_address;
        if let (Some(most), Some(client)) = (limit, connection.ends.peer) {
            connection.place = self.crowd.enter(client, most);
            if connection.place.is_none() {
                self.tally.turned_away += 1;
                return;
            }
        }
        self.dispatch(connection);
    }

    /// Gives a connection to the worker the policy picks, or keeps it until one can take it.
    pub fn dispatch(&mut self, connection: Accepted) {
        let Some(connection) = self.pass_to_heir(connection) else { return };
        let Some(mut connection) = self.offer(connection) else { return self.update_gate() };
        self.count(&mut connection);
        while let Some(id) = self.pick(&connection) {
            let number = ConnectionId(self.next_connection);
            let most = self.most_turns();
            let Some(worker) = self.workers.get_mut(&id) else {
                break;
            };
            match worker.give(number, connection) {
                None => {
                    self.next_connection += 1;
                    self.last = Some(id);
                    worker.turns = balance::turns_after(worker.turns, most);
                    return self.update_gate();
                }
                Some(back) => {
                    // It is past help; its end will be noticed, and others are not kept waiting.
                    worker.kill(Signal::SIGKILL);
                    worker.state = State::Lost;
                    connection = back;
                }
            }
        }
        if self.phase != Phase::Stopping || !self.workers.is_empty() {
            self.waiting.push_back(connection);
            self.look_again_soon();
        }
        self.update_gate();
    }

    /// One that comes from another worker counts, however many there are.
    pub(super) fn count(&self, connection: &mut Accepted) {
        if let (Some(_), None, Some(client)) =
            (self.config.max_connections_per_address, &connection.place, connection.ends.peer)
        {
            connection.place = self.crowd.enter(client, u32::MAX);
        }
    }

    fn look_again_soon(&mut self) {
        if self.config.limits.max_connections > 0 && !self.looks_again {
            self.looks_again = true;
            let events = self.links.events.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(SOON).await;
                let _ = events.send(Event::LookAgain);
            });
        }
    }

    pub fn look_again(&mut self) {
        self.looks_again = false;
        self.pass_on_waiting();
    }

    /// A new worker starts with as many, and so has nothing to make up for.
    pub(super) fn most_turns(&self) -> u64 {
        self.workers.values().map(|worker| worker.turns).max().unwrap_or(0)
    }

    fn pick(&self, connection: &Accepted) -> Option<WorkerId> {
        // While stopping, those that still finish their work are all there is.
        let usable = |worker: &Worker| match self.phase {
            Phase::Stopping => matches!(worker.state, State::Ready | State::Draining),
            _ => self.is_seated(worker),
        };
        let most = self.config.limits.max_connections;
        let has_room = |worker: &Worker| most == 0 || worker.connections() < most;
        let loads: Vec<Load> = self
            .workers
            .values()
            .filter(|worker| usable(worker) && worker.keeps_up() && has_room(worker))
            .map(|worker| Load {
                worker: worker.id,
                connections: worker.connections(),
                turns: worker.turns,
            })
            .collect();
        match connection.only {
            Some(id) if self.workers.contains_key(&id) => {
                loads.iter().find(|load| load.worker == id).map(|load| load.worker)
            }
            _ => {
                let peer = connection.ends.peer.map(|peer| peer.ip());
                balance::pick(self.config.balance, &loads, self.last, peer)
            }
        }
    }

    /// Tries again what had to wait.
    pub fn pass_on_waiting(&mut self) {
        for _ in 0..self.waiting.len() {
            if let Some(connection) = self.waiting.pop_front() {
                self.dispatch(connection);
            }
        }
        self.update_gate();
    }

    pub(super) fn update_gate(&self) {
        let held: usize = self.workers.values().map(Worker::held).sum();
        let open = self.phase == Phase::Serving
            && self.waiting.len() < WAITING
            && held + self.waiting.len() < self.links.max_held
            && self.workers.values().any(|worker| self.is_seated(worker));
        self.gate.send_if_modified(|now| std::mem::replace(now, open) != open);
    }
}
