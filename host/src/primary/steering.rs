//! A pool with a primary program: how that starts and ends, and what is done of what it asks.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::accepted::Accepted;
use super::balance::Policy;
use super::child::End;
use super::children::Owner;
use super::confine;
use super::files::Files;
use super::pool::{Phase, Pool};
use super::program::{self, EPILOGUE, MAX_OFFERED, Start};
use super::seat::Seat;
use super::workers::{State, Worker};
use super::{Event, WorkerId};
use crate::ipc::cluster::{Answer, FromProgram, Question, Refusal, Seen, Stage, ToProgram};
use crate::ipc::message::{ConnectionId, ToWorker};
use crate::worker::settings::Dir;

/// More workers than this a program may not fork.
pub const MAX_WORKERS: usize = 1024;

impl Pool {
    /// What the program is started with, before any worker is.
    pub fn program_start(
        &self,
        path: &std::path::Path,
        artifact: super::compile::Artifact,
        files: Rc<Files>,
    ) -> Start {
        let mut settings = self.current.settings(0, None);
        settings.plugin = program::file_name(path);
        settings.dirs = self.config.primary_dirs.iter().map(Dir::from).collect();
        settings.process = self.facts();
        let ready_timeout = self.config.ready_timeout;
        let memory_limit = confine::memory_limit(&self.config);
        Start { artifact, settings, files, cluster: self.cluster(), ready_timeout, memory_limit }
    }

    pub fn program_says(&mut self, frame: FromProgram, mut fds: Vec<OwnedFd>) {
        match frame {
            FromProgram::Ready | FromProgram::Failed(_) => {}
            FromProgram::Ask { ticket, question: Question::Setup(changes) } => {
                self.set_up(ticket, changes);
            }
            FromProgram::Ask { ticket, question } => {
                let answer = self.answer(question).unwrap_or_else(Answer::No);
                self.tell(ToProgram::Answer { ticket, answer }, vec![]);
            }
            FromProgram::Child(order) => self.child_order(Owner::Program, order),
            FromProgram::Accepted(count) => {
                if let Some(program) = &mut self.program {
                    program.offered = program.offered.saturating_sub(count);
                }
                self.pass_on_waiting();
            }
            FromProgram::HandOver { worker, mut ends } => {
                let Some(fd) = fds.pop() else { return };
                let read = std::mem::take(&mut ends.read);
                self.give_to(WorkerId(worker), Accepted::again(fd, ends, read));
            }
        }
    }

    /// As if the host had chosen the worker. If it is gone, the program chooses again.
    fn give_to(&mut self, id: WorkerId, mut connection: Accepted) {
        self.count(&mut connection);
        let number = ConnectionId(self.next_connection);
        let worker = self.workers.get_mut(&id).filter(|worker| worker.state == State::Ready);
        let given = match worker {
            Some(worker) => worker.give(number, connection),
            None => Some(connection),
        };
        match given {
            None => self.next_connection += 1,
            Some(back) => self.dispatch(back),
        }
    }

    /// Under `--balance program` the program gets it, unless it has enough; else it comes back.
    pub fn offer(&mut self, connection: Accepted) -> Option<Accepted> {
        let serving = self.phase == Phase::Serving;
        let wanted = self.config.balance == Policy::Program && connection.only.is_none();
        let Some(program) = self.program.as_mut().filter(|_| serving && wanted) else {
            return Some(connection);
        };
        if program.offered >= MAX_OFFERED {
            self.waiting.push_back(connection);
            return None;
        }
        program.offered += 1;
        let Accepted { fd, mut ends, read, .. } = connection;
        ends.read = read;
        self.tell(ToProgram::Connection(ends), vec![fd]);
        None
    }

    fn answer(&mut self, question: Question) -> Result<Answer, Refusal> {
        match question {
            Question::Fork(env) => return self.fork(env).map(|id| Answer::Forked(id.0)),
            Question::Kill { worker, signal } => self.kill_worker(worker, signal)?,
            Question::Disconnect(Some(worker)) => {
                let id = self.living(worker)?;
                self.drain(id, true);
                self.update_gate();
            }
            Question::Disconnect(None) => {
                self.log("stopping, as the primary program wants it");
                self.stop();
            }
            // Answered when it is done.
            Question::Setup(_) => {}
            Question::Reload if self.phase == Phase::Stopping => return Err(Refusal::Stopping),
            Question::Reload => self.reload(Default::default()),
            Question::Workers => {
                return Ok(Answer::Workers(self.workers.values().map(|w| self.seen(w)).collect()));
            }
        }
        Ok(Answer::Done)
    }

    fn living(&self, worker: u32) -> Result<WorkerId, Refusal> {
        let id = WorkerId(worker);
        match self.workers.contains_key(&id) {
            true => Ok(id),
            false if worker == 0 || worker > self.links.numbers.get() => {
                Err(Refusal::UnknownWorker)
            }
            false => Err(Refusal::WorkerGone),
        }
    }

    /// A worker of the program's own, which is not replaced when it ends.
    fn fork(&mut self, env: Vec<(String, String)>) -> Result<WorkerId, Refusal> {
        if self.phase == Phase::Stopping {
            return Err(Refusal::Stopping);
        }
        if self.workers.len() >= MAX_WORKERS {
            return Err(Refusal::TooMany(MAX_WORKERS as u32));
        }
        let place = self.seats.iter().position(Seat::is_left).unwrap_or_else(|| {
            self.seats.push(Seat::default());
            self.seats.len() - 1
        });
        (self.seats[place].forked, self.seats[place].env) = (true, env);
        let (generation, id) = (self.to_fork(), WorkerId(self.links.numbers.get() + 1));
        match self.start_worker(place, &generation) {
            Ok(()) => {
                self.share_out();
                Ok(id)
            }
            Err(error) => Err(Refusal::Invalid(format!("{error:#}"))),
        }
    }

    fn kill_worker(&mut self, worker: u32, signal: i32) -> Result<(), Refusal> {
        let id = self.living(worker)?;
        match Signal::try_from(signal) {
            Ok(Signal::SIGKILL) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.told = true;
                    worker.kill(Signal::SIGKILL);
                }
            }
            Ok(signal) => {
                let ends = matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT);
                let _ = self.workers[&id].post(&ToWorker::Signal(signal as i32), vec![]);
                if ends {
                    self.drain(id, true);
                    self.update_gate();
                }
            }
            Err(_) => return Err(Refusal::Invalid(format!("signal {signal}"))),
        }
        Ok(())
    }

    fn seen(&self, worker: &Worker) -> Seen {
        Seen {
            id: worker.id.0,
            pid: worker.pid() as u32,
            generation: worker.generation.number,
            stage: match worker.state {
                State::Starting => Stage::Starting,
                State::Ready if self.is_seated(worker) && !self.listeners.is_empty() => {
                    Stage::Listening
                }
                State::Ready => Stage::Online,
                State::Draining | State::Lost => Stage::Draining,
            },
            told: worker.told,
            connections: worker.connections() as u32,
        }
    }

    /// The worker ends by its own decision; its time to finish is that of any drain.
    pub fn leaving(&mut self, id: WorkerId, disconnected: bool) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.told |= disconnected;
            worker.state = State::Draining;
            self.limit_drain(id);
            self.update_gate();
        }
    }

    pub fn program_exited(&mut self, end: End) {
        let Some(program) = self.program.take() else { return };
        let (name, how) = (&program.name, program.describe(end));
        self.kill_children_of(Owner::Program);
        if self.phase != Phase::Stopping {
            if self.config.exit_with_primary {
                self.log(&format!("primary program {name} {how}; stopping"));
                if end != End::Code(0) {
                    self.failure = Some(format!("primary program {name} {how}"));
                }
                return self.stop();
            }
            self.log(&format!("primary program {name} {how}; the cluster goes on"));
        }
        self.stop_if_abandoned();
        self.pass_on_waiting();
    }

    /// With nobody left to serve, and nobody to fork another, there is no reason to be.
    pub fn stop_if_abandoned(&mut self) {
        let alone = self.workers.is_empty() && self.program.is_none();
        if self.config.manual && alone && self.phase == Phase::Serving {
            self.log("no worker is left, and nobody to fork another; stopping");
            self.stop();
        }
    }

    pub fn kill_program(&mut self) {
        if let Some(program) = &self.program {
            self.log(&format!("killing primary program {}: everything is over", program.name));
            program.kill();
        }
    }

    /// When the last worker is gone, the program may come to its own end.
    pub fn close_program(&mut self) {
        let over = self.phase == Phase::Stopping && self.workers.is_empty();
        let Some(program) = self.program.as_mut().filter(|program| over && !program.over) else {
            return;
        };
        program.over = true;
        self.tell(ToProgram::Over, vec![]);
        let events = self.links.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(EPILOGUE).await;
            let _ = events.send(Event::ProgramOverdue);
        });
    }
}
