//! One plugin's workers: starts them, replaces the dead, tells when all are ready, stops them.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::child::End;
use super::compile::{Artifact, one_line};
use super::listen::{self, Accepted, Acceptor, Listener};
use super::outbound::Resolver;
use super::output::Output;
use super::workers::{Start, State, Worker};
use super::{Event, WorkerId};
use crate::config::PoolConfig;
use crate::ipc::message::{FromWorker, ToWorker};
use crate::worker::settings::{Dir, LogFormat, Settings};

/// A worker's place, which outlives the worker.
#[derive(Default)]
struct Seat {
    worker: Option<WorkerId>,
    backoff: Backoff,
    /// Under `--balance reuseport`: this place's own listeners, kept open between two workers so
    /// that what they have queued is not lost.
    listeners: Vec<Rc<Listener>>,
    /// `--listen-per-worker`: ends with the worker.
    own_port: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Serving,
    Stopping,
}

/// Where a pool's news and connections go.
#[derive(Clone)]
pub struct Links {
    pub output: Output,
    pub events: UnboundedSender<Event>,
    pub accepted: tokio::sync::mpsc::Sender<Accepted>,
}

pub struct Pool {
    pub(super) config: PoolConfig,
    pub(super) phase: Phase,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) waiting: VecDeque<Accepted>,
    pub(super) last: Option<WorkerId>,
    pub(super) next_connection: u64,
    /// Open while accepted connections can be passed on.
    pub(super) gate: watch::Sender<bool>,
    links: Links,
    name: String,
    listeners: Vec<Rc<Listener>>,
    seats: Vec<Seat>,
    artifact: Artifact,
    dirs: Vec<OwnedFd>,
    access_log: Option<(LogFormat, OwnedFd)>,
    generation: u64,
    next_worker: u32,
    resolver: Option<Resolver>,
}

impl Pool {
    pub fn new(
        config: PoolConfig,
        bound: Bound,
        artifact: Artifact,
        access_log: Option<(LogFormat, OwnedFd)>,
        links: Links,
    ) -> Result<Pool> {
        let name = config.plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dirs = config.dirs.iter().map(|dir| open_dir(&dir.host)).collect::<Result<_>>()?;
        let mut seats: Vec<Seat> = (0..config.workers).map(|_| Seat::default()).collect();
        for (seat, listeners) in seats.iter_mut().zip(bound.per_seat) {
            seat.listeners = listeners.into_iter().map(Rc::new).collect();
        }
        Ok(Pool {
            phase: Phase::Starting,
            workers: BTreeMap::new(),
            waiting: VecDeque::new(),
            last: None,
            next_connection: 1,
            gate: watch::Sender::new(false),
            links,
            name,
            listeners: bound.common.into_iter().map(Rc::new).collect(),
            seats,
            artifact,
            dirs,
            access_log,
            generation: 1,
            next_worker: 1,
            resolver: None,
            config,
        })
    }

    pub fn start(&mut self) -> Result<()> {
        if !self.config.balance.workers_accept() {
            for listener in &self.listeners {
                let acceptor = self.acceptor(listener, None)?;
                tokio::task::spawn_local(run_acceptor(acceptor));
            }
        }
        self.start_resolver()?;
        (0..self.seats.len()).try_for_each(|seat| self.start_worker(seat))
    }

    fn start_resolver(&mut self) -> Result<()> {
        if !self.config.allow_outbound.is_empty() {
            let Links { output, events, .. } = &self.links;
            self.resolver = Some(Resolver::start(&self.config.allow_outbound, output, events)?);
        }
        Ok(())
    }

    /// Outgoing requests fail until the next one is up; nothing else notices.
    pub fn resolver_gone(&mut self) {
        if self.is_stopped() || self.resolver.take().is_none() {
            return;
        }
        self.links.output.log("resolver died; restarting it");
        if let Err(error) = self.start_resolver() {
            return self.links.output.log(&format!("start resolver: {error:#}"));
        }
        for worker in self.workers.values() {
            if let Some(Err(error)) = self.resolver.as_ref().map(|r| r.connect(worker)) {
                self.links.output.log(&format!("worker {}: {error:#}", worker.id));
            }
        }
    }

    fn acceptor(&self, listener: &Listener, only: Option<WorkerId>) -> Result<Acceptor> {
        Ok(Acceptor {
            listener: listener.fd.try_clone().context("duplicate listener")?,
            local: listener.address.tcp(),
            only,
            open: self.gate.subscribe(),
            out: self.links.accepted.clone(),
            output: self.links.output.clone(),
        })
    }

    fn start_worker(&mut self, seat: usize) -> Result<()> {
        let id = self.next_worker;
        self.next_worker += 1;
        let start = Start {
            seat,
            settings: self.settings(id),
            artifact: &self.artifact.fd,
            access_log: self.access_log.as_ref().map(|(_, fd)| fd),
            dirs: &self.dirs,
        };
        let Links { output, events, .. } = &self.links;
        let worker = Worker::start(start, output, events, self.config.ready_timeout)
            .with_context(|| format!("start worker {id}"))?;
        if let Some(resolver) = &self.resolver {
            resolver.connect(&worker)?;
        }
        self.seats[seat].worker = Some(worker.id);
        self.workers.insert(worker.id, worker);
        Ok(())
    }

    fn settings(&self, worker_id: u32) -> Settings {
        let dir = |dir: &crate::config::DirGrant| Dir {
            guest_path: dir.guest.clone(),
            read_only: dir.read_only,
        };
        Settings {
            worker_id,
            generation: self.generation,
            plugin: self.name.clone(),
            env: self.config.env.clone(),
            args: self.config.args.clone(),
            config: self.config.set.clone(),
            dirs: self.config.dirs.iter().map(dir).collect(),
            limits: self.config.limits.clone(),
            access_log: self.access_log.as_ref().map(|(format, _)| *format),
            allow_outbound: !self.config.allow_outbound.is_empty(),
        }
    }

    /// A message from a worker. An error ends the host: the first generation could not start.
    pub fn frame(&mut self, id: WorkerId, frame: FromWorker, fds: Vec<OwnedFd>) -> Result<()> {
        let Some(worker) = self.workers.get_mut(&id) else {
            return Ok(());
        };
        match frame {
            FromWorker::Ready if worker.state == State::Starting => self.ready(id)?,
            FromWorker::Ready => {}
            FromWorker::Failed(why) => worker.failure = Some(one_line(&why)),
            FromWorker::Took(ids) => worker.took(&ids),
            FromWorker::HandBack { ends, read } => {
                for fd in fds {
                    let connection =
                        Accepted { fd, ends: ends.clone(), read: read.clone(), only: None };
                    self.dispatch(connection);
                }
            }
        }
        Ok(())
    }

    fn ready(&mut self, id: WorkerId) -> Result<()> {
        let Some(worker) = self.workers.get_mut(&id) else {
            return Ok(());
        };
        worker.state = State::Ready;
        let seat = &self.seats[worker.seat];
        let own = match self.config.balance.workers_accept() {
            true if !seat.listeners.is_empty() => &seat.listeners,
            true => &self.listeners,
            false => &Vec::new(),
        };
        for listener in own {
            let local = listener.address.tcp();
            worker.post(&ToWorker::Listener { local }, vec![listener.fd.try_clone()?])?;
        }
        self.open_own_port(id)?;
        match self.phase {
            Phase::Starting if self.workers.values().all(|w| w.state == State::Ready) => {
                self.announce();
                self.phase = Phase::Serving;
            }
            Phase::Serving => {
                let worker = &self.workers[&id];
                let took = worker.started.elapsed().as_millis();
                self.links.output.log(&format!("worker {id} ready in {took} ms"));
            }
            _ => return Ok(()),
        }
        self.pass_on_waiting();
        Ok(())
    }

    fn announce(&self) {
        let seats = self.seats.iter().flat_map(|seat| seat.listeners.first());
        let of_seats = if self.listeners.is_empty() { Some(seats) } else { None };
        let mut places: Vec<String> = self
            .listeners
            .iter()
            .chain(of_seats.into_iter().flatten())
            .map(|listener| listener.address.to_string())
            .collect();
        places.dedup();
        let workers = match self.seats.len() {
            1 => "1 worker".to_owned(),
            n => format!("{n} workers"),
        };
        let places = places.join(", ");
        let generation = self.generation;
        self.links.output.log(&format!("serving {places} with {workers}, generation {generation}"));
    }

    /// `--listen-per-worker`: the port that belongs to this worker's id.
    fn open_own_port(&mut self, id: WorkerId) -> Result<()> {
        let Some(first) = self.config.listen_per_worker else {
            return Ok(());
        };
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
                self.links.output.log(&format!("worker {id} also on {}", listener.address));
                let acceptor = self.acceptor(&listener, Some(id))?;
                let task = tokio::task::spawn_local(run_acceptor(acceptor));
                let seat = self.workers[&id].seat;
                self.seats[seat].own_port = Some(task);
            }
            Err(error) if self.phase == Phase::Starting => return Err(error),
            Err(error) => self.links.output.log(&format!("worker {id}: own port: {error:#}")),
        }
        Ok(())
    }

    /// Sent nonsense or stopped reading: such a worker is not to be talked to any more.
    pub fn broken(&mut self, id: WorkerId, why: &str) {
        if let Some(worker) = self.workers.get(&id) {
            self.links.output.log(&format!("worker {id}: {why}; killing it"));
            worker.kill(Signal::SIGKILL);
        }
    }

    pub fn overdue(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.state == State::Starting {
            let timeout = self.config.ready_timeout;
            worker.failure.get_or_insert(format!("not ready within {timeout:?}"));
            worker.kill(Signal::SIGKILL);
        }
    }

    pub fn exited(&mut self, id: WorkerId, end: End) -> Result<()> {
        let Some(mut worker) = self.workers.remove(&id) else {
            return Ok(());
        };
        let seat = &mut self.seats[worker.seat];
        if let Some(task) = seat.own_port.take() {
            task.abort();
        }
        let orphans = worker.reclaim();
        let lived = worker.started.elapsed();
        let why = match worker.failure.take() {
            Some(failure) if worker.state == State::Starting => failure,
            _ => end.to_string(),
        };
        if self.phase == Phase::Starting {
            bail!("start {}: worker {id}: {why}", self.name);
        }
        if seat.worker == Some(id) {
            seat.worker = None;
        }
        if self.phase == Phase::Serving {
            self.replace(worker.seat, id, &why, lived);
        }
        orphans.into_iter().for_each(|connection| self.dispatch(connection));
        Ok(())
    }

    fn replace(&mut self, seat: usize, id: WorkerId, why: &str, lived: Duration) {
        let backoff = &mut self.seats[seat].backoff;
        let wait = backoff.died(lived);
        let looping = if backoff.crash_looping() { " (crash loop)" } else { "" };
        let when = if wait.is_zero() { "now".to_owned() } else { format!("in {wait:?}") };
        self.links.output.log(&format!("worker {id} {why}; restarting it {when}{looping}"));
        if wait.is_zero() {
            return self.respawn(seat);
        }
        let events = self.links.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let _ = events.send(Event::Respawn(seat));
        });
    }

    pub fn respawn(&mut self, seat: usize) {
        if self.phase != Phase::Serving || self.seats[seat].worker.is_some() {
            return;
        }
        if let Err(error) = self.start_worker(seat) {
            self.links.output.log(&format!("{error:#}"));
            let id = WorkerId(self.next_worker - 1);
            self.replace(seat, id, "could not be started", Duration::ZERO);
        }
    }

    /// Takes no more connections, lets the workers finish what they have.
    pub fn stop(&mut self) {
        let serving = self.phase == Phase::Serving;
        self.phase = Phase::Stopping;
        self.gate.send_replace(false);
        if serving && !self.config.balance.workers_accept() {
            self.accept_rest();
        }
        self.listeners.clear();
        for seat in &mut self.seats {
            seat.listeners.clear();
            if let Some(task) = seat.own_port.take() {
                task.abort();
            }
        }
        for worker in self.workers.values_mut() {
            let told = worker.post(&ToWorker::Drain { hand_back: false }, vec![]);
            if worker.state == State::Starting || told.is_err() {
                worker.kill(Signal::SIGKILL);
            }
            worker.state = State::Draining;
        }
    }

    /// What the kernel has completed for us would be reset with its listener.
    fn accept_rest(&mut self) {
        for listener in self.listeners.clone() {
            while let Ok((fd, peer)) = crate::sys::accept(std::os::fd::AsFd::as_fd(&listener.fd)) {
                let ends = crate::ipc::message::Ends { peer, local: listener.address.tcp() };
                self.dispatch(Accepted { fd, ends, read: Vec::new(), only: None });
            }
        }
    }

    pub fn kill(&mut self, why: &str) {
        self.phase = Phase::Stopping;
        self.gate.send_replace(false);
        for worker in self.workers.values() {
            self.links.output.log(&format!("killing worker {}: {why}", worker.id));
            worker.kill(Signal::SIGKILL);
        }
    }

    fn end_resolver(&mut self) {
        if let Some(resolver) = self.resolver.take() {
            resolver.kill();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopping && self.workers.is_empty()
    }
}

async fn run_acceptor(acceptor: Acceptor) {
    let output = acceptor.output.clone();
    if let Err(error) = acceptor.run().await {
        output.log(&format!("accept: {error:#}"));
    }
}

fn open_dir(path: &std::path::Path) -> Result<OwnedFd> {
    use nix::fcntl::OFlag;
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
        .with_context(|| format!("--dir {}", path.display()))
}

/// The listeners of a pool: common ones, or a set for each seat.
pub struct Bound {
    common: Vec<Listener>,
    per_seat: Vec<Vec<Listener>>,
}

impl Bound {
    pub fn open(config: &PoolConfig) -> Result<Bound> {
        let reuse = config.balance == super::balance::Policy::ReusePort;
        let open = |spec| listen::open(spec, config.backlog, reuse);
        let first: Vec<Listener> = config.listen.iter().map(open).collect::<Result<_>>()?;
        if !reuse {
            return Ok(Bound { common: first, per_seat: Vec::new() });
        }
        let mut per_seat = vec![first];
        while per_seat.len() < config.workers {
            let again = |listener: &Listener| match listener.address.tcp() {
                Some(address) => listen::open_tcp(address, config.backlog, true),
                None => bail!("--balance reuseport: {} cannot be shared out", listener.address),
            };
            let next = per_seat[0].iter().map(again).collect::<Result<_>>()?;
            per_seat.push(next);
        }
        Ok(Bound { common: Vec::new(), per_seat })
    }
}
