//! The child processes of a pool's workers and its primary program: who may have which, where they
//! are connected to, and what becomes of them when their owner ends.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::child::End;
use super::plumbing::Plumbing;
use super::pool::{Phase, Pool};
use super::processor::Processor;
use super::programs::{Programs, Started};
use super::starter::Starter;
use super::workers::{State, Worker};
use super::{Event, Events, WorkerId};
use crate::ipc::child::{Ended, Limit, News, Order, Spawn, SpawnError};
use crate::ipc::cluster::{Status, ToProgram};
use crate::ipc::message::ToWorker;
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Worker(WorkerId),
    Program,
}

#[derive(Default)]
pub struct Children {
    live: BTreeMap<u64, Child>,
    last: u64,
    pub processor: Processor,
}

struct Child {
    owner: Owner,
    ticket: u64,
    memory: u64,
    detached: bool,
    /// It is to be killed as soon as it has been started.
    unwanted: bool,
    /// It is killed because all of them together have used too much processor time.
    used_up: bool,
    process: Option<Rc<sys::Child>>,
}

/// What happens to a child.
pub enum What {
    Refused(SpawnError),
    Started(Rc<sys::Child>, Rc<Starter>, Vec<OwnedFd>),
    Ended(Ended),
}

impl Child {
    /// It may outlive a drained owner only until that one's drain time is over.
    fn ends_with(&self, owner: Owner) -> bool {
        self.owner == owner && !self.detached
    }
}

impl Children {
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Kills them all, and has those that waited for them know why.
    pub fn use_up(&mut self) {
        self.live.values_mut().for_each(|child| child.used_up = true);
        self.kill(|_| true);
    }

    fn kill(&mut self, which: impl Fn(&Child) -> bool) {
        for child in self.live.values_mut().filter(|child| which(child)) {
            child.unwanted = true;
            if let Some(process) = &child.process {
                process.kill(Signal::SIGKILL);
            }
        }
    }
}

impl Pool {
    pub fn child_order(&mut self, owner: Owner, order: Order) {
        match order {
            Order::Start { ticket, spawn } => {
                if let Err(why) = self.start_child(owner, ticket, *spawn) {
                    self.tell_owner(owner, News::Refused { ticket, why }, vec![]);
                }
            }
            Order::Signal { child, signal } => {
                let child = self.children.live.get(&child).filter(|child| child.owner == owner);
                let process = child.and_then(|child| child.process.as_ref());
                if let (Some(process), Ok(signal)) = (process, Signal::try_from(signal)) {
                    process.kill(signal);
                }
            }
        }
    }

    fn start_child(&mut self, owner: Owner, ticket: u64, spawn: Spawn) -> Result<(), SpawnError> {
        let generation = match owner {
            Owner::Worker(id) => self.workers.get(&id).map(|worker| &worker.generation),
            Owner::Program => Some(&self.current),
        };
        let generation = generation.ok_or(SpawnError::Stopping)?.clone();
        let memory = generation.programs.check(&spawn)?;
        let limits = generation.config().children;
        let live = &self.children.live;
        if live.len() >= limits.count as usize {
            return Err(SpawnError::TooMany(limits.count));
        }
        let reserved: u64 = live.values().map(|child| child.memory).sum();
        if reserved.saturating_add(memory) > limits.memory {
            return Err(SpawnError::TooMuchMemory(limits.memory));
        }
        if let Some(limit) = limits.cpu.filter(|limit| self.children.processor.has_used(*limit)) {
            return Err(SpawnError::TooMuchCpuTime(limit.as_nanos() as u64));
        }
        let prefix = match owner {
            Owner::Worker(id) => format!("[worker {id} {}] ", spawn.program),
            Owner::Program => format!("[{}] ", spawn.program),
        };
        let plumbing = Plumbing::new(&spawn, &self.links.output, &prefix)
            .map_err(|error| SpawnError::Failed(format!("{error:#}")))?;
        self.children.last += 1;
        let id = self.children.last;
        let detached = spawn.detached;
        let child = Child {
            owner,
            ticket,
            memory,
            detached,
            unwanted: false,
            used_up: false,
            process: None,
        };
        self.children.live.insert(id, child);
        let (programs, events) = (generation.programs.clone(), self.links.events.clone());
        tokio::task::spawn_local(follow(id, programs, spawn, plumbing, events));
        Ok(())
    }

    pub fn child_event(&mut self, id: u64, what: What) {
        let Some(child) = self.children.live.get_mut(&id) else { return };
        let (owner, ticket) = (child.owner, child.ticket);
        match what {
            What::Refused(why) => {
                self.children.live.remove(&id);
                self.tell_owner(owner, News::Refused { ticket, why }, vec![]);
            }
            What::Started(process, starter, fds) => {
                if child.unwanted {
                    process.kill(Signal::SIGKILL);
                }
                let pid = process.pid.as_raw() as u32;
                child.process = Some(process);
                self.count_processor_time(&starter);
                self.tell_owner(owner, News::Started { ticket, child: id, pid }, fds);
            }
            What::Ended(mut end) => {
                if child.used_up {
                    end.limit = Some(Limit::CpuTime);
                }
                self.children.live.remove(&id);
                self.tell_owner(owner, News::Ended { child: id, end }, vec![]);
            }
        }
    }

    fn tell_owner(&mut self, owner: Owner, news: News, fds: Vec<OwnedFd>) {
        match owner {
            Owner::Program => self.tell(ToProgram::Child(news), fds),
            Owner::Worker(id) => {
                if let Some(worker) = self.workers.get(&id) {
                    let _ = worker.post(&ToWorker::Child(news), fds);
                }
            }
        }
    }

    /// A worker that ended in order leaves its children the rest of its drain time, a dead one none.
    pub fn leave_children(&mut self, worker: &mut Worker, end: End) {
        let owner = Owner::Worker(worker.id);
        let in_order = worker.state == State::Draining && matches!(end, End::Code(_));
        if !in_order {
            self.kill_children_of(owner);
        }
        let limited = self.children.live.values().any(|child| child.ends_with(owner));
        if !limited && let Some(limit) = worker.drain_limit.take() {
            limit.abort();
        }
    }

    pub fn kill_children_of(&mut self, owner: Owner) {
        self.children.kill(|child| child.ends_with(owner));
    }

    /// The host stops: all of them may still finish, for as long as workers may.
    pub fn limit_children(&self) {
        let (events, timeout) = (self.links.events.clone(), self.config.drain_timeout);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(timeout).await;
            let _ = events.send(Event::ChildrenOverdue);
        });
    }

    pub fn kill_children(&mut self) {
        self.children.kill(|_| true);
    }

    /// Once nobody is left who could hear of them, only what was meant to outlive its owner goes on.
    pub fn children_overdue(&mut self) {
        if self.phase == Phase::Stopping && !self.children.is_empty() {
            self.log("killing child processes: the drain time is over");
            self.kill_children();
        }
    }
}

async fn follow(id: u64, programs: Rc<Programs>, spawn: Spawn, plumbing: Plumbing, events: Events) {
    let tell = |what: What| drop(events.send(Event::Child(id, what)));
    let Plumbing { connected, theirs, ours } = plumbing;
    let Started { running, pid, page } = match programs.run(&spawn, connected, theirs).await {
        Ok(started) => started,
        Err(why) => return tell(What::Refused(why)),
    };
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    let (ended, starter) = (running.ended, running.starter);
    let process = Rc::new(sys::Child { pid, pidfd: running.pidfd });
    // As long as this runs, so does what started it.
    tell(What::Started(process.clone(), starter.clone(), ours));
    let mut limit = None;
    let mut ended = std::pin::pin!(ended);
    let end = tokio::select! {
        end = &mut ended => end,
        () = time_out(spawn.timeout_ns) => {
            limit = Some(Limit::Timeout);
            if let Ok(signal) = Signal::try_from(spawn.kill_signal) {
                process.kill(signal);
            }
            ended.await
        }
    };
    drop(starter);
    let died = Ended { status: Status::Signal(libc::SIGKILL), limit: None };
    let mut end = end.unwrap_or(died);
    if page.is_some_and(|page| page.memory_refused.load(Relaxed) > 0) {
        end.limit = Some(Limit::Memory);
    }
    end.limit = limit.or(end.limit);
    tell(What::Ended(end));
}

async fn time_out(nanos: Option<u64>) {
    match nanos {
        // What is beyond a year does not come.
        Some(nanos) if nanos < 366 * 86_400 * 1_000_000_000 => {
            tokio::time::sleep(Duration::from_nanos(nanos)).await
        }
        _ => std::future::pending().await,
    }
}
