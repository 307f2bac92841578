//! One worker as the primary sees it, from clone to reaping.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::sync::{Notify, oneshot};

use super::accepted::Accepted;
use super::child::{self, Child, End};
use super::confine::{self, Confinement};
use super::crowd::Place;
use super::files::Asker;
use super::generation::Generation;
use super::health;
use super::output::Output;
use super::{Event, Events, WorkerId};
use crate::ipc::channel::Channel;
use crate::ipc::line::Pipes;
use crate::ipc::message::{ConnectionId, Ends, FromWorker, ToWorker};
use crate::scoreboard::Scoreboard;
use crate::worker::settings::Settings;
use crate::{sandbox, sys};

/// A worker that has closed its channel has this long to be gone.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// Lines of a dead child that are still in its pipes are waited for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Names connections of the primary's own.
const OWN_CONNECTION: ConnectionId = ConnectionId(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Starting,
    Ready,
    Draining,
    /// Could not be reached; killed, and not yet reaped.
    Lost,
}

pub struct Worker {
    pub id: WorkerId,
    pub generation: Rc<Generation>,
    /// Its place in the pool; the successor takes the same one.
    pub seat: usize,
    pub state: State,
    pub started: Instant,
    pub scoreboard: Scoreboard,
    /// What it said went wrong before it exited.
    pub failure: Option<String>,
    /// It says that the machine code it was given cannot be loaded.
    pub blames_artifact: bool,
    /// It is to end, and knows it.
    pub told: bool,
    /// Ends its drain and its children's; pointless, and memory until then, once all have ended.
    pub drain_limit: Option<tokio::task::JoinHandle<()>>,
    /// Connections it was given but has not read from: ours to give to another if it dies.
    untaken: HashMap<ConnectionId, Accepted>,
    /// Of clients whose connections are counted: those it has read from and not closed.
    places: HashMap<ConnectionId, Place>,
    /// Told of each connection.
    pub(super) given: Rc<Notify>,
    assigned: u64,
    /// Connections it was given, as ties are decided by; see `balance::turns_after`.
    pub turns: u64,
    /// Bytes it may hold before it is killed.
    pub memory_limit: u64,
    pub confinement: Confinement,
    channel: Rc<Channel<ToWorker, FromWorker>>,
    process: Rc<sys::Child>,
}

/// What a worker is started with besides its settings.
pub struct Start<'a> {
    pub seat: usize,
    pub turns: u64,
    pub settings: Settings,
    pub generation: Rc<Generation>,
    pub access_log: Option<&'a OwnedFd>,
    /// Its end of the line to the primary program.
    pub messages: Option<Pipes>,
}

impl Worker {
    pub fn start(
        mut what: Start<'_>,
        output: &Output,
        events: &Events,
        ready_timeout: Duration,
    ) -> Result<Worker> {
        let id = WorkerId(what.settings.worker_id);
        let generation = what.generation;
        let number = generation.number;
        let title = format!("host: worker {id} (gen {number}) {}", what.settings.plugin);
        let child: Child<ToWorker, FromWorker> =
            child::start("worker", &title, &format!("[worker {id}] "), output)?;
        let (scoreboard, page) = Scoreboard::create()?;
        let mut fds = vec![generation.artifact.fd.try_clone()?, page];
        fds.extend(what.access_log.map(OwnedFd::try_clone).transpose()?);
        fds.extend(what.messages.into_iter().flat_map(Pipes::into_fds));
        fds.extend(generation.files.dirs()?);
        fds.extend(generation.files.line()?);
        what.settings.process.pid = child.process.pid.as_raw() as u32;
        let limits = what.settings.limits.clone();
        child.channel.post(&ToWorker::Setup(Box::new(what.settings)), fds)?;
        let memory_limit = confine::memory_limit(generation.config());
        confine::limit_mapped(&child.process, memory_limit, &limits)?;
        let channel = Rc::new(child.channel);
        let asker: Rc<dyn Asker> = channel.clone();
        generation.files.remember(Rc::downgrade(&asker));
        let worker = Worker {
            id,
            generation,
            seat: what.seat,
            state: State::Starting,
            started: Instant::now(),
            scoreboard,
            failure: None,
            blames_artifact: false,
            told: false,
            drain_limit: None,
            untaken: HashMap::new(),
            places: HashMap::new(),
            given: Rc::default(),
            assigned: 0,
            turns: what.turns,
            memory_limit,
            confinement: Confinement::default(),
            channel,
            process: Rc::new(child.process),
        };
        let confined = worker.confine(events.clone());
        worker.watch(child.relays, confined, events.clone(), ready_timeout);
        Ok(worker)
    }

    /// Turns what the worker does into events, its end last.
    fn watch(
        &self,
        relays: Vec<tokio::task::JoinHandle<()>>,
        confined: oneshot::Receiver<()>,
        events: Events,
        ready_timeout: Duration,
    ) {
        let (id, channel, process) = (self.id, self.channel.clone(), self.process.clone());
        let (late, scoreboard) = (events.clone(), self.scoreboard.clone());
        tokio::task::spawn_local(async move {
            let frames = async {
                loop {
                    match channel.recv().await {
                        Ok(Some((frame, fds))) => drop(events.send(Event::Frame(id, frame, fds))),
                        Ok(None) => return,
                        Err(error) => {
                            let _ = events.send(Event::Broken(id, format!("{error:#}")));
                            return;
                        }
                    }
                }
            };
            let pump = async {
                if let Err(error) = channel.pump(|| drop(events.send(Event::CaughtUp))).await {
                    let _ = events.send(Event::Broken(id, format!("{error:#}")));
                }
                // What it sent before, such as connections it handed back, still counts.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = frames => {}
                () = pump => {}
            }
            let _ = events.send(Event::Disconnected(id));
            // Until it is reaped its number is its own, and who moves it may rely on that.
            let _ = confined.await;
            let end = match tokio::time::timeout(LAST_BREATH, child::wait(&process.pidfd)).await {
                Ok(end) => end,
                Err(_) => {
                    process.kill(Signal::SIGKILL);
                    child::wait(&process.pidfd).await
                }
            };
            let words = async {
                for relay in relays {
                    let _ = relay.await;
                }
            };
            let _ = tokio::time::timeout(LAST_WORDS, words).await;
            let end = end.unwrap_or(End::Code(-1)).unmasked(scoreboard.died_by.load(Relaxed));
            let _ = events.send(Event::Exited(id, end));
        });
        tokio::task::spawn_local(async move {
            tokio::time::sleep(ready_timeout).await;
            let _ = late.send(Event::Overdue(id));
        });
    }

    /// Connections it holds, as far as it admits having closed some.
    pub fn connections(&self) -> u64 {
        self.assigned.saturating_sub(self.scoreboard.connections_closed.load(Relaxed))
    }

    /// Whether it keeps up with what it is sent.
    pub fn keeps_up(&self) -> bool {
        self.channel.backlog() == 0
    }

    /// Passes a connection on; if the worker cannot be reached, it comes back.
    pub fn give(&mut self, id: ConnectionId, connection: Accepted) -> Option<Accepted> {
        let (ends, read) = (connection.ends.clone(), connection.read.clone());
        let message = ToWorker::Connection { id, ends, read };
        if self.channel.post_with(&message, connection.fd.as_fd()).is_err() {
            return Some(connection);
        }
        self.assigned += 1;
        self.given.notify_one();
        self.untaken.insert(id, connection);
        None
    }

    /// How many descriptors are held for it.
    pub fn held(&self) -> usize {
        self.untaken.len() + self.channel.backlog()
    }

    pub fn took(&mut self, ids: &[ConnectionId]) {
        for id in ids {
            let taken = self.untaken.remove(id);
            self.places.extend(taken.and_then(|connection| Some((*id, connection.place?))));
        }
    }

    pub fn closed(&mut self, ids: &[ConnectionId]) {
        ids.iter().for_each(|id| drop(self.places.remove(id)));
    }

    /// What it never read from, oldest first.
    pub fn reclaim(&mut self) -> Vec<Accepted> {
        let mut all: Vec<_> = std::mem::take(&mut self.untaken).into_iter().collect();
        all.sort_by_key(|(id, _)| *id);
        let unread = |connection: &Accepted| !connection.was_read();
        all.into_iter().map(|(_, connection)| connection).filter(unread).collect()
    }

    pub fn post(&self, message: &ToWorker, fds: Vec<OwnedFd>) -> Result<()> {
        self.channel.post(message, fds)
    }

    /// Opens a connection to it that asks for `path`.
    pub fn ask_health(&self, path: &str) -> Result<health::Asked> {
        let (theirs, asked) = health::ask(path)?;
        let connection =
            ToWorker::Connection { id: OWN_CONNECTION, ends: Ends::default(), read: Vec::new() };
        self.post(&connection, vec![theirs])?;
        Ok(asked)
    }

    pub fn kill(&self, signal: Signal) {
        self.process.kill(signal);
    }

    /// Whether the kernel says of it what it says of itself by being ready.
    pub fn verify(&self) -> Result<()> {
        sandbox::selfcheck::verify(self.pid(), sandbox::probe::decided()?)
    }

    /// How it ended, in words.
    pub fn describe(&self, end: End) -> String {
        confine::describe(end, self.confinement.group(), self.memory_limit)
    }

    pub fn pid(&self) -> i32 {
        self.process.pid.as_raw()
    }
}
