//! What happens to a pool's workers between start and end: ready, seated, dead, replaced.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::accepted::Accepted;
use super::children::Owner;
use super::compile::one_line;
use super::listen;
use super::news::What;
use super::pool::{Phase, Pool, run_acceptor};
use super::workers::State;
use super::{Event, WorkerId};
use crate::ipc::cluster::ToProgram;
use crate::ipc::message::{FromWorker, SocketName, ToWorker};
use crate::sandbox::probe;

impl Pool {
    /// A message from a worker. An error ends the host: the first generation could not start.
    pub fn frame(&mut self, id: WorkerId, frame: FromWorker, fds: Vec<OwnedFd>) -> Result<()> {
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        match frame {
            FromWorker::Ready if worker.state == State::Starting => return self.ready(id),
            FromWorker::Ready => {}
            FromWorker::Failed(why) => worker.failure = Some(one_line(&why)),
            FromWorker::BadArtifact(why) => {
                worker.failure = Some(one_line(&why));
                worker.blames_artifact = true;
            }
            FromWorker::Took(ids) => {
                worker.took(&ids);
                self.update_gate();
            }
            FromWorker::Ended(ids) => worker.closed(&ids),
            FromWorker::Leaving { disconnected } => self.leaving(id, disconnected),
            FromWorker::Child(order) => self.child_order(Owner::Worker(id), order),
            FromWorker::HandBack { ends, read } => {
                for fd in fds {
                    let (ends, read) = (ends.clone(), read.clone());
                    self.dispatch(Accepted::again(fd, ends, read));
                }
            }
        }
        Ok(())
    }

    pub(super) fn ready(&mut self, id: WorkerId) -> Result<()> {
        if !self.is_confined(id) {
            return Ok(());
        }
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        if let Err(error) = worker.verify() {
            worker.failure = Some(format!("its sandbox is not what it should be: {error:#}"));
            worker.kill(Signal::SIGKILL);
            return Ok(());
        }
        worker.state = State::Ready;
        let (seat, number) = (worker.seat, worker.generation.number);
        self.links.news.tell(What::Online { worker: id });
        self.tell(ToProgram::Online(id.0), vec![]);
        if self.reloads.holds(number) {
            return self.reload_member_ready(id);
        }
        self.take_seat(seat)?;
        match self.phase {
            Phase::Starting if self.seats.iter().all(|s| s.forked || s.worker.is_some()) => {
                self.phase = Phase::Serving;
                self.announce();
            }
            Phase::Serving => {
                let took = self.workers[&id].started.elapsed().as_millis();
                self.log(&format!("worker {id} ready in {took} ms"));
            }
            _ => {}
        }
        self.pass_on_waiting();
        Ok(())
    }

    pub fn announce(&self) {
        let workers = match self.seats.iter().filter(|seat| !seat.forked).count() {
            _ if self.config.manual => match &self.program {
                Some(program) => format!("workers of {}", program.name),
                None => "workers".to_owned(),
            },
            1 => "1 worker".to_owned(),
            n => format!("{n} workers"),
        };
        if let Some(sandbox) = probe::untold_summary() {
            self.log(&sandbox);
        }
        let (places, generation) = (self.places(), self.current.number);
        self.log(&format!("serving {places} with {workers}, generation {generation}"));
    }

    /// The incoming worker takes its seat; the one before it gives its connections back and ends.
    pub fn take_seat(&mut self, seat: usize) -> Result<()> {
        let Some(id) = self.seats[seat].incoming.take() else { return Ok(()) };
        let before = self.seats[seat].worker.replace(id);
        if let Some(task) = self.seats[seat].own_port.take() {
            task.abort();
        }
        self.accept_again()?;
        self.hand_listeners(id)?;
        self.tell_listening(id, self.names(seat));
        self.open_own_port(id)?;
        self.links.news.tell(What::Listening { worker: id });
        let generation = self.workers.get(&id).map(|worker| worker.generation.clone());
        generation.iter().for_each(|generation| self.adopt(generation));
        if let Some(before) = before {
            self.drain(before, true);
        }
        self.operation_step();
        Ok(())
    }

    /// Under `shared` and `reuseport` the workers accept for themselves.
    fn hand_listeners(&self, id: WorkerId) -> Result<()> {
        if !self.config.balance.workers_accept() {
            return Ok(());
        }
        let worker = &self.workers[&id];
        for listener in self.listeners.iter().chain(&self.seats[worker.seat].listeners) {
            let local = listener.address.tcp();
            worker.post(&ToWorker::Listener { local }, vec![listener.fd.try_clone()?])?;
        }
        Ok(())
    }

    /// `--listen-per-worker`: the port that belongs to this worker's id.
    fn open_own_port(&mut self, id: WorkerId) -> Result<()> {
        let Some(first) = self.config.listen_per_worker else { return Ok(()) };
        let Some(host) = self.listeners.first().and_then(|l| l.address.tcp()) else {
            bail!("--listen-per-worker: the first --listen must be HOST:PORT");
        };
        let port = u32::from(first) + id.0 - 1;
        let opened =
            u16::try_from(port).context("the port would be above 65535").and_then(|port| {
                listen::open_tcp((host.ip(), port).into(), self.config.backlog, false)
            });
        match opened {
            Ok(listener) => {
                self.log(&format!("worker {id} also on {}", listener.address));
                let address = listener.address.tcp().map(SocketName::Ip);
                self.tell_listening(id, address.into_iter().collect());
                let acceptor = self.acceptor(&listener, Some(id))?;
                let seat = self.workers[&id].seat;
                self.seats[seat].own_port = Some(tokio::task::spawn_local(run_acceptor(acceptor)));
            }
            Err(error) if self.phase == Phase::Starting => return Err(error),
            Err(error) => self.log(&format!("worker {id}: own port: {error:#}")),
        }
        Ok(())
    }

    /// Lets a worker finish what it has, give back or close what is idle, and end.
    pub fn drain(&mut self, id: WorkerId, hand_back: bool) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let told = worker.post(&ToWorker::Drain { hand_back }, vec![]);
        if worker.state == State::Starting || told.is_err() {
            worker.kill(Signal::SIGKILL);
        }
        worker.state = State::Draining;
        worker.told = true;
        self.limit_drain(id);
    }

    pub fn limit_drain(&mut self, id: WorkerId) {
        let (events, timeout) = (self.links.events.clone(), self.config.drain_timeout);
        let limit = tokio::task::spawn_local(async move {
            tokio::time::sleep(timeout).await;
            let _ = events.send(Event::DrainOver(id));
        });
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.drain_limit = Some(limit);
        }
    }

    pub fn drain_over(&mut self, id: WorkerId) {
        self.kill_children_of(Owner::Worker(id));
        if let Some(worker) = self.workers.get(&id) {
            self.log(&format!("killing worker {id}: its drain time is over"));
            worker.kill(Signal::SIGKILL);
        }
    }

    /// Sent nonsense or stopped reading: such a worker is not to be talked to any more.
    pub fn broken(&mut self, id: WorkerId, why: &str) {
        if let Some(worker) = self.workers.get(&id) {
            self.log(&format!("worker {id}: {why}; killing it"));
            worker.kill(Signal::SIGKILL);
        }
    }

    /// Its channel has ended; it will soon.
    pub fn disconnected(&mut self, id: WorkerId) {
        self.links.news.tell(What::Disconnect { worker: id });
    }

    pub fn overdue(&mut self, id: WorkerId) {
        let timeout = self.config.ready_timeout;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.state == State::Starting {
            worker.failure.get_or_insert(format!("not ready within {timeout:?}"));
            worker.kill(Signal::SIGKILL);
        }
    }
}
