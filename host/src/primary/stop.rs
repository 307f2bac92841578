//! How a pool ends: in order, or at once.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use super::WorkerId;
use super::accepted::Accepted;
use super::news::What;
use super::pool::{Phase, Pool};
use crate::ipc::cluster::ToProgram;
use crate::ipc::message::Ends;
use crate::sys;

impl Pool {
    /// Takes no more connections, lets the workers finish what they have.
    pub fn stop(&mut self) {
        let serving = self.phase == Phase::Serving;
        self.links.news.tell(What::Stopping);
        self.phase = Phase::Stopping;
        self.gate.send_replace(false);
        self.acceptors.drain(..).for_each(|task| task.abort());
        if serving {
            self.accept_rest();
        }
        self.close_listeners();
        self.drain_all(false);
    }

    /// The listeners live on in another process, and so do idle connections.
    pub fn stop_towards_heir(&mut self) {
        self.links.news.tell(What::Stopping);
        self.phase = Phase::Stopping;
        self.gate.send_replace(false);
        self.acceptors.drain(..).for_each(|task| task.abort());
        self.close_listeners();
        self.drain_all(true);
    }

    fn drain_all(&mut self, hand_back: bool) {
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        all.into_iter().for_each(|id| self.drain(id, hand_back));
        self.limit_children();
        self.tell(ToProgram::Draining, vec![]);
        self.close_program();
    }

    /// What the kernel has completed for us would be reset with its listener.
    fn accept_rest(&mut self) {
        let mut rest = Vec::new();
        let of_seats = self.seats.iter_mut().flat_map(|seat| &mut seat.listeners);
        for listener in self.listeners.iter_mut().chain(of_seats) {
            listener.retire();
            while let Ok((fd, peer)) = sys::accept(listener.fd.as_fd()) {
                let ends = Ends { peer, local: listener.address.tcp(), ..Ends::default() };
                rest.push(Accepted::fresh(fd, ends, None));
            }
            listener.end();
        }
        rest.into_iter().for_each(|connection| self.dispatch(connection));
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
        for seat in &mut self.seats {
            seat.listeners.clear();
            if let Some(task) = seat.own_port.take() {
                task.abort();
            }
        }
    }

    pub fn kill(&mut self, why: &str) {
        self.phase = Phase::Stopping;
        self.gate.send_replace(false);
        self.close_listeners();
        for worker in self.workers.values() {
            self.log(&format!("killing worker {}: {why}", worker.id));
            worker.kill(Signal::SIGKILL);
        }
        self.kill_children();
        if let Some(program) = &self.program {
            program.kill();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopping
            && self.workers.is_empty()
            && self.program.is_none()
            && self.children.is_empty()
            && self.is_handed_over()
    }
}
