//! One plugin's workers and the seats they take. A seat outlives its worker: a successor is started
//! beside it and takes the seat when it is ready, whether the worker died, is replaced, or belongs
//! to an older generation.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::bound::Bound;
use super::compile::Compiler;
use super::generation::Generation;
use super::listen::{Accepted, Acceptor, Listener};
use super::outbound::Resolver;
use super::output::Output;
use super::reload::Reloads;
use super::workers::{Start, State, Worker};
use super::{Event, WorkerId};
use crate::config::PoolConfig;
use crate::worker::settings::LogFormat;

#[derive(Default)]
pub struct Seat {
    /// Serves.
    pub worker: Option<WorkerId>,
    /// Started, and takes the seat when it is ready.
    pub incoming: Option<WorkerId>,
    pub backoff: Backoff,
    /// Under `--balance reuseport`: this seat's own listeners, kept open between two workers so
    /// that what they have queued is not lost.
    pub listeners: Vec<Listener>,
    /// `--listen-per-worker`: ends with the worker.
    pub own_port: Option<tokio::task::JoinHandle<()>>,
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
    pub compiler: Rc<Compiler>,
    pub events: UnboundedSender<Event>,
    pub accepted: tokio::sync::mpsc::Sender<Accepted>,
    /// Connections in transit that there are descriptors for.
    pub max_held: usize,
}

pub struct Pool {
    pub config: PoolConfig,
    pub phase: Phase,
    pub workers: BTreeMap<WorkerId, Worker>,
    pub seats: Vec<Seat>,
    pub current: Rc<Generation>,
    pub reloads: Reloads,
    pub listeners: Vec<Listener>,
    pub links: Links,
    pub waiting: VecDeque<Accepted>,
    pub last: Option<WorkerId>,
    pub next_connection: u64,
    /// Open while accepted connections can be passed on.
    pub gate: watch::Sender<bool>,
    pub resolver: Option<Resolver>,
    access_log: Option<(LogFormat, OwnedFd)>,
    next_worker: u32,
}

impl Pool {
    pub fn new(
        first: Generation,
        bound: Bound,
        access_log: Option<(LogFormat, OwnedFd)>,
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
            links,
            waiting: VecDeque::new(),
            last: None,
            next_connection: 1,
            gate: watch::Sender::new(false),
            resolver: None,
            access_log,
            next_worker: 1,
        }
    }

    pub fn start(&mut self) -> Result<()> {
        if !self.config.balance.workers_accept() {
            for listener in &self.listeners {
                let acceptor = self.acceptor(listener, None)?;
                tokio::task::spawn_local(run_acceptor(acceptor));
            }
        }
        self.start_resolver()?;
        let first = self.current.clone();
        (0..self.seats.len()).try_for_each(|seat| self.start_worker(seat, &first))
    }

    pub fn acceptor(&self, listener: &Listener, only: Option<WorkerId>) -> Result<Acceptor> {
        Ok(Acceptor {
            listener: listener.fd.try_clone().context("duplicate listener")?,
            local: listener.address.tcp(),
            only,
            open: self.gate.subscribe(),
            out: self.links.accepted.clone(),
            output: self.links.output.clone(),
        })
    }

    /// Starts a worker that takes `seat` when it is ready.
    pub fn start_worker(&mut self, seat: usize, generation: &Rc<Generation>) -> Result<()> {
        let id = self.next_worker;
        self.next_worker += 1;
        let start = Start {
            seat,
            settings: generation.settings(id, self.access_log.as_ref().map(|(format, _)| *format)),
            generation: generation.clone(),
            access_log: self.access_log.as_ref().map(|(_, fd)| fd),
        };
        let Links { output, events, .. } = &self.links;
        let worker = Worker::start(start, output, events, self.config.ready_timeout)
            .with_context(|| format!("start worker {id}"))?;
        if let Some(resolver) = &self.resolver {
            resolver.connect(&worker)?;
        }
        self.seats[seat].incoming = Some(worker.id);
        self.workers.insert(worker.id, worker);
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
        worker.state == State::Ready && self.seats[worker.seat].worker == Some(worker.id)
    }

    pub fn log(&self, text: &str) {
        self.links.output.log(text);
    }

    /// Where this pool can be reached, in words.
    pub fn places(&self) -> String {
        let first_seat = self.seats.first().map(|seat| &seat.listeners[..]).unwrap_or_default();
        let all = self.listeners.iter().chain(first_seat);
        all.map(|listener| listener.address.to_string()).collect::<Vec<_>>().join(", ")
    }
}

pub async fn run_acceptor(acceptor: Acceptor) {
    let output = acceptor.output.clone();
    if let Err(error) = acceptor.run().await {
        output.log(&format!("accept: {error:#}"));
    }
}
