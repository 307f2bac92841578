//! More workers, fewer workers, or a fresh one in the same seat. While a reload runs, what is asked
//! for waits until it is over.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::WorkerId;
use super::bound::another_seat;
use super::news::What;
use super::pool::{Phase, Pool};
use super::seat::Seat;
use crate::config::MAX_WORKERS;
use crate::control::protocol::Target;
use crate::ipc::message::ToWorker;

/// What became of something that was asked for, in words.
pub type Reply = oneshot::Sender<Result<String, String>>;

#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Scale(Target),
    Restart(WorkerId),
}

#[derive(Default)]
pub struct Operations {
    /// Asked for during a reload.
    later: Vec<(Operation, Option<Reply>)>,
    /// Under way: answered when each of these seats has its new worker.
    under_way: Vec<UnderWay>,
}

struct UnderWay {
    seats: Vec<usize>,
    done: String,
    reply: Reply,
}

impl Pool {
    pub fn operate(&mut self, operation: Operation, reply: Option<Reply>) {
        if self.reloads.is_active() {
            self.operations.later.push((operation, reply));
            return self.log("a reload is in progress; doing this after it");
        }
        if self.phase != Phase::Serving {
            return answer(reply, Err("not serving yet, or not any more".into()));
        }
        let started = match operation {
            Operation::Scale(target) => self.scale(target),
            Operation::Restart(id) => self.restart(id),
        };
        match (started, reply) {
            (Ok((seats, done)), Some(reply)) => {
                self.operations.under_way.push(UnderWay { seats, done, reply });
                self.operation_step();
            }
            (Ok(_), None) => {}
            (Err(error), None) => self.log(&format!("{error:#}")),
            (Err(error), reply) => answer(reply, Err(format!("{error:#}"))),
        }
    }

    /// Does what had to wait for a reload.
    pub fn operate_later(&mut self) {
        self.set_up_later();
        for (operation, reply) in std::mem::take(&mut self.operations.later) {
            self.operate(operation, reply);
        }
    }

    /// Answers those whose seats are all taken.
    pub fn operation_step(&mut self) {
        let settled = |index: &usize| {
            let seat = self.seats.get(*index);
            seat.is_none_or(|seat| seat.worker.is_some() && seat.incoming.is_none())
        };
        let done = self
            .operations
            .under_way
            .extract_if(.., |operation| operation.seats.iter().all(settled))
            .collect::<Vec<_>>();
        done.into_iter().for_each(|operation| answer(Some(operation.reply), Ok(operation.done)));
    }

    /// The worker that was to take this seat has died.
    pub fn operation_failed(&mut self, seat: usize, why: &str) {
        let failed = self
            .operations
            .under_way
            .extract_if(.., |operation| operation.seats.contains(&seat))
            .collect::<Vec<_>>();
        failed.into_iter().for_each(|operation| answer(Some(operation.reply), Err(why.to_owned())));
    }

    fn scale(&mut self, target: Target) -> Result<(Vec<usize>, String)> {
        let from = self.seats.len();
        let to = target.from(from);
        anyhow::ensure!(to > 0, "scale to 0: at least 1 worker has to stay; stop the host instead");
        anyhow::ensure!(to <= MAX_WORKERS, "scale to {to}: give at most {MAX_WORKERS}");
        if to != from {
            self.log(&format!("scaling from {from} to {to}"));
            self.links.news.tell(What::Scaled { from, to });
        }
        while self.seats.len() < to {
            if let Err(error) = self.add_seat() {
                self.shrink(from);
                return Err(error.context(format!("scale to {to}")));
            }
        }
        self.shrink(to);
        self.share_out();
        Ok(((from..to).collect(), format!("{to} {}", if to == 1 { "worker" } else { "workers" })))
    }

    fn add_seat(&mut self) -> Result<()> {
        let mut seat = Seat::default();
        if let Some(first) = self.seats.first().filter(|first| !first.listeners.is_empty()) {
            let own = first.listeners.len().min(self.config.listen.len());
            seat.listeners = another_seat(&first.listeners[..own], &self.config)?;
        }
        self.seats.push(seat);
        let current = self.current.clone();
        self.start_worker(self.seats.len() - 1, &current)
    }

    /// Those who leave hand their connections back to those who stay.
    fn shrink(&mut self, to: usize) {
        let leaving = self.seats.split_off(to.min(self.seats.len()));
        for mut seat in leaving {
            if let Some(task) = seat.own_port.take() {
                task.abort();
            }
            if let Some(worker) = seat.incoming.and_then(|id| self.workers.get(&id)) {
                worker.kill(Signal::SIGKILL);
            }
            self.keep_listeners(&mut seat);
            if let Some(id) = seat.worker {
                self.drain(id, true);
            }
        }
        self.operation_step();
    }

    /// Closing a listener resets what it has queued: the first seat goes on with it instead.
    fn keep_listeners(&mut self, leaving: &mut Seat) {
        let listeners = std::mem::take(&mut leaving.listeners);
        let Some(first) = self.seats.first_mut() else { return };
        let worker = first.worker.and_then(|id| self.workers.get(&id));
        for listener in &listeners {
            let message = ToWorker::Listener { local: listener.address.tcp() };
            let handed = listener.fd.try_clone().context("duplicate listener");
            let handed = handed.and_then(|fd| match worker {
                Some(worker) => worker.post(&message, vec![fd]),
                None => Ok(()),
            });
            if let Err(error) = handed {
                self.links.output.log(&format!("hand listener on: {error:#}"));
            }
        }
        first.listeners.extend(listeners);
    }

    fn restart(&mut self, id: WorkerId) -> Result<(Vec<usize>, String)> {
        let worker =
            self.workers.get(&id).with_context(|| format!("worker {id}: no such worker"))?;
        let seat = worker.seat;
        let place = self.seats.get(seat).filter(|place| place.worker == Some(id));
        let place = place.with_context(|| format!("worker {id}: it is starting or ending"))?;
        if place.incoming.is_none() {
            self.log(&format!("replacing worker {id}"));
            self.replace_running(seat)?;
        }
        Ok((vec![seat], format!("worker {id} was replaced")))
    }

    /// Starts a successor; when it is ready, it takes the seat and the one before drains.
    pub fn replace_running(&mut self, seat: usize) -> Result<()> {
        // The program may have forked it to run something newer than the others.
        let before = self.seats[seat].worker.and_then(|id| self.workers.get(&id));
        let newest = before.map(|worker| &worker.generation).into_iter().chain([&self.current]);
        let newest = newest.max_by_key(|generation| generation.number).cloned();
        self.start_worker(seat, &newest.unwrap_or_else(|| self.current.clone()))
    }
}

fn answer(reply: Option<Reply>, result: Result<String, String>) {
    if let Some(reply) = reply {
        let _ = reply.send(result);
    }
}
