//! Passes accepted connections to workers.

use nix::sys::signal::Signal;

use super::WorkerId;
use super::accepted::Accepted;
use super::balance::{self, Load};
use super::pool::{Phase, Pool};
use super::workers::{State, Worker};
use crate::ipc::message::ConnectionId;

/// Connections that may wait here before the accept loop pauses; the kernel queues the rest.
const WAITING: usize = 64;

impl Pool {
    /// Gives a connection to the worker the policy picks, or keeps it until one can take it.
    pub fn dispatch(&mut self, connection: Accepted) {
        let Some(connection) = self.pass_to_heir(connection) else { return };
        let Some(mut connection) = self.offer(connection) else { return self.update_gate() };
        while let Some(id) = self.pick(&connection) {
            let number = ConnectionId(self.next_connection);
            let Some(worker) = self.workers.get_mut(&id) else {
                break;
            };
            match worker.give(number, connection) {
                None => {
                    self.next_connection += 1;
                    self.last = Some(id);
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
        }
        self.update_gate();
    }

    fn pick(&self, connection: &Accepted) -> Option<WorkerId> {
        // While stopping, those that still finish their work are all there is.
        let usable = |worker: &Worker| match self.phase {
            Phase::Stopping => matches!(worker.state, State::Ready | State::Draining),
            _ => self.is_seated(worker),
        };
        let loads: Vec<Load> = self
            .workers
            .values()
            .filter(|worker| usable(worker) && worker.keeps_up())
            .map(|worker| Load { worker: worker.id, connections: worker.connections() })
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
