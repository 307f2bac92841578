//! One plugin's workers and the seats they take. A seat outlives its worker: a successor is started
//! beside it and takes the seat when it is ready, whether the worker died, is replaced, or belongs
//! to an older generation.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::WorkerId;
use super::accepted::Accepted;
use super::access_log::AccessLog;
use super::bound::Bound;
use super::children::Children;
use super::crowd::Crowd;
use super::generation::Generation;
use super::links::Links;
use super::listen::{Acceptor, Listener};
use super::news::What;
use super::outbound::Resolver;
use super::output::Output;
use super::program::Program;
use super::reload::Reloads;
use super::scale::Operations;
use super::seat::Seat;
use super::status::Tally;
use super::workers::{Start, State, Worker};
use crate::config::PoolConfig;
use crate::ipc::channel::Channel;
use crate::ipc::cluster::ToProgram;
use crate::ipc::line::Pipes;
use crate::ipc::message::{FromHeir, ToHeir};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Serving,
    Stopping,
}

pub struct Pool {
    pub config: PoolConfig,
    pub phase: Phase,
    pub workers: BTreeMap<WorkerId, Worker>,
    pub seats: Vec<Seat>,
    pub current: Rc<Generation>,
    pub reloads: Reloads,
    pub listeners: Vec<Listener>,
    pub acceptors: Vec<tokio::task::JoinHandle<()>>,
    pub links: Links,
    pub waiting: VecDeque<Accepted>,
    /// Those that wait for room in a worker are tried again soon.
    pub looks_again: bool,
    /// By client, if that is limited.
    pub crowd: Crowd,
    pub last: Option<WorkerId>,
    pub next_connection: u64,
    /// Open while accepted connections can be passed on.
    pub gate: watch::Sender<bool>,
    pub resolver: Option<Resolver>,
    pub operations: Operations,
    /// Another primary that has taken over: connections go to it.
    pub heir: Option<Rc<Channel<ToHeir, FromHeir>>>,
    pub tally: Tally,
    /// Looks after `--max-requests` and `--max-worker-memory`.
    pub inspector: Option<JoinHandle<()>>,
    pub recycle_after: Option<Instant>,
    pub watcher: Option<JoinHandle<()>>,
    /// The listeners are shut until there is a worker again.
    pub refuses: bool,
    pub program: Option<Program>,
    pub children: Children,
    /// Why the host ends with an error.
    pub failure: Option<String>,
    access_log: Option<Rc<AccessLog>>,
}

impl Pool {
    pub fn new(
        first: Generation,
        bound: Bound,
        access_log: Option<Rc<AccessLog>>,
        links: Links,
    ) -> Pool {
        let config = first.config().clone();
        let mut seats: Vec<Seat> = (0..config.workers).map(|_| Seat::default()).collect();
        for (seat, listeners) in seats.iter_mut().zip(bound.per_seat) {
            seat.listeners = listeners;
        }
        Pool {
            config,
            phase: Phase::Starting,
            workers: BTreeMap::new(),
            seats,
            current: Rc::new(first),
            reloads: Reloads::default(),
            listeners: bound.common,
            acceptors: Vec::new(),
            links,
            waiting: VecDeque::new(),
            looks_again: false,
            crowd: Crowd::default(),
            last: None,
            next_connection: 1,
            gate: watch::Sender::new(false),
            resolver: None,
            operations: Operations::default(),
            heir: None,
            tally: Tally::default(),
            inspector: None,
            recycle_after: None,
            watcher: None,
            refuses: false,
            program: None,
            children: Children::default(),
            failure: None,
            access_log,
        }
    }

    pub fn start(&mut self) -> Result<()> {
        self.start_acceptors()?;
        self.start_resolver()?;
        self.watch_limits();
        self.watch_file();
        if self.config.manual {
            self.phase = Phase::Serving;
            self.announce();
        }
        let first = self.current.clone();
        (0..self.seats.len()).try_for_each(|seat| self.start_worker(seat, &first))
    }

    pub fn acceptor(&self, listener: &Listener, only: Option<WorkerId>) -> Result<Acceptor> {
        Ok(Acceptor {
            listener: listener.fd.try_clone().context("duplicate listener")?,
            local: listener.address.tcp(),
            only,
            open: self.gate.subscribe(),
            pool: self.links.events.pool,
            out: self.links.accepted.clone(),
            output: self.links.output.clone(),
        })
    }

    /// Starts a worker that takes `seat` when it is ready.
    pub fn start_worker(&mut self, seat: usize, generation: &Rc<Generation>) -> Result<()> {
        let id = self.links.numbers.get() + 1;
        self.links.numbers.set(id);
        let format = self.access_log.as_ref().map(|log| log.format);
        let mut settings = generation.settings(id, format);
        let (ours, theirs) = self.equip(seat, &mut settings)?.unzip();
        let start = Start {
            seat,
            turns: self.most_turns(),
            settings,
            generation: generation.clone(),
            access_log: self.access_log.as_ref().map(|log| &log.writer),
            messages: theirs,
        };
        let Links { output, events, .. } = &self.links;
        let output = if self.is_silent() { &Output::nowhere() } else { output };
        let worker = Worker::start(start, output, events, self.config.ready_timeout)
            .with_context(|| format!("start worker {id}"))?;
        if let Some(resolver) = &self.resolver {
            resolver.connect(&worker)?;
        }
        let (pid, generation) = (worker.pid() as u32, generation.number);
        let forked = ToProgram::Forked { worker: id, pid, generation };
        self.tell(forked, ours.into_iter().flat_map(Pipes::into_fds).collect());
        self.seats[seat].incoming = Some(worker.id);
        self.links.news.tell(What::Fork { worker: worker.id, pid: worker.pid(), generation });
        self.workers.insert(worker.id, worker);
        Ok(())
    }

    /// `--watch`: follows the files of the current generation.
    pub fn watch_file(&mut self) {
        if let Some(task) = self.watcher.take() {
            task.abort();
        }
        if self.config.watch {
            let Links { output, events, .. } = self.links.clone();
            let programs = self.config.programs.iter().map(|program| &*program.path);
            let files = std::iter::once(&*self.config.plugin).chain(programs);
            match super::watch::start(files, events, output) {
                Ok(task) => self.watcher = Some(task),
                Err(error) => self.log(&format!("--watch: {error:#}")),
            }
        }
    }

    /// What lives beside the workers follows the generation that serves.
    pub fn config_changed(&mut self) {
        self.watch_limits();
        self.watch_file();
        let grants = &self.config.allow_outbound;
        if let Some(Err(error)) = self.resolver.as_ref().map(|resolver| resolver.grant(grants)) {
            self.log(&format!("{error:#}"));
        }
    }

    /// A new generation may need a resolver where the one that serves did not.
    pub fn widen_resolver(&mut self, config: &PoolConfig) -> Result<()> {
        if self.resolver.is_none() && !config.allow_outbound.is_empty() {
            let Links { output, events, .. } = &self.links;
            self.resolver = Some(Resolver::start(&config.allow_outbound, output, events)?);
        }
        Ok(())
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
        self.log("resolver died; restarting it");
        if let Err(error) = self.start_resolver() {
            return self.log(&format!("start resolver: {error:#}"));
        }
        for worker in self.workers.values() {
            if let Some(Err(error)) = self.resolver.as_ref().map(|r| r.connect(worker)) {
                self.log(&format!("worker {}: {error:#}", worker.id));
            }
        }
    }

    /// Whether this worker is one that new connections go to.
    pub fn is_seated(&self, worker: &Worker) -> bool {
        worker.state == State::Ready
            && self.seats.get(worker.seat).is_some_and(|seat| seat.worker == Some(worker.id))
    }

    pub fn log(&self, text: &str) {
        self.links.output.log(text);
    }

    /// Where this pool can be reached, in words.
    pub fn places(&self) -> String {
        self.addresses().join(", ")
    }

    pub fn addresses(&self) -> Vec<String> {
        let first_seat = self.seats.first().map(|seat| &seat.listeners[..]).unwrap_or_default();
        let all = self.listeners.iter().chain(first_seat);
        let all: Vec<String> = all.map(|listener| listener.address.to_string()).collect();
        if all.is_empty() { vec!["no address".to_owned()] } else { all }
    }
}

pub async fn run_acceptor(acceptor: Acceptor) {
    let output = acceptor.output.clone();
    if let Err(error) = acceptor.run().await {
        output.log(&format!("accept: {error:#}"));
    }
}
