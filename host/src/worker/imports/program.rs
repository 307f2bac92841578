//! What the primary program knows: its lines to the workers, what has happened and has not been
//! told, and the orders under way. Bounded, whatever the program does or leaves.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use tokio::sync::{Notify, mpsc, oneshot};

use super::listening::Queue;
use crate::ipc::cluster::{Answer, Cluster, FromProgram, Question, Status};
use crate::ipc::line::{Line, Pipes, Received, until};
use crate::ipc::message::SocketName;

/// Events, messages aside, that wait for a program that does not read them.
const MAX_EVENTS: usize = 4096;

pub enum Event {
    Fork(u32),
    Online(u32),
    Listening(u32, SocketName),
    Message(u32, Received),
    Disconnect(u32),
    Exit { worker: u32, status: Status, told: bool },
    Setup(Box<Cluster>),
    Signal(i32),
    Lost(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLine {
    Unknown,
    Gone,
    /// Its messages are closed, but it lives.
    Closed,
}

pub type Order = (FromProgram, Vec<OwnedFd>);

pub struct Program {
    state: Mutex<State>,
    news: Arc<Notify>,
    orders: mpsc::UnboundedSender<Order>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next_ticket: AtomicU64,
    /// Connections to hand out, under `--balance program`.
    pub clients: Arc<Queue>,
    max_message: usize,
}

struct State {
    cluster: Cluster,
    events: VecDeque<Event>,
    lost: u64,
    workers: BTreeMap<u32, Known>,
    /// The highest number seen.
    newest: u32,
    /// Whose message was taken last.
    last: u32,
    over: bool,
}

struct Known {
    pid: u32,
    line: Option<Line>,
    /// Its messages may be shown.
    started: bool,
    disconnected: bool,
    ended: Option<(Status, bool)>,
}

impl Program {
    pub fn new(
        cluster: Cluster,
        max_message: usize,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Program {
        let state = State {
            cluster,
            events: VecDeque::new(),
            lost: 0,
            workers: BTreeMap::new(),
            newest: 0,
            last: 0,
            over: false,
        };
        Program {
            state: Mutex::new(state),
            news: Arc::default(),
            orders,
            answers: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            clients: Arc::default(),
            max_message,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn order(&self, order: FromProgram, fds: Vec<OwnedFd>) {
        let _ = self.orders.send((order, fds));
    }

    /// `None` if the primary is gone.
    pub async fn ask(&self, question: Question) -> Option<Answer> {
        let ticket = self.next_ticket.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        self.answers.lock().unwrap_or_else(|p| p.into_inner()).insert(ticket, sender);
        self.order(FromProgram::Ask { ticket, question }, vec![]);
        answer.await.ok()
    }

    pub fn answered(&self, ticket: u64, answer: Answer) {
        let waiting = self.answers.lock().unwrap_or_else(|p| p.into_inner()).remove(&ticket);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    pub fn cluster(&self) -> Cluster {
        self.lock().cluster.clone()
    }

    pub fn worker_of(&self, pid: u32) -> Option<u32> {
        let state = self.lock();
        state.workers.iter().find(|(_, known)| known.pid == pid).map(|(id, _)| *id)
    }

    /// Workers that can be written to.
    pub fn connected(&self) -> Vec<u32> {
        let state = self.lock();
        let connected = |known: &Known| known.line.as_ref().is_some_and(Line::connected);
        state.workers.iter().filter(|(_, known)| connected(known)).map(|(id, _)| *id).collect()
    }

    pub fn line(&self, worker: u32) -> Result<Line, NoLine> {
        let state = self.lock();
        match state.workers.get(&worker) {
            Some(Known { ended: Some(_), .. }) => Err(NoLine::Gone),
            Some(Known { line: Some(line), .. }) => Ok(line.clone()),
            Some(_) => Err(NoLine::Closed),
            None if worker == 0 || worker > state.newest => Err(NoLine::Unknown),
            None => Err(NoLine::Gone),
        }
    }

    pub fn forked(&self, worker: u32, pid: u32, line: Option<Pipes>) -> Result<()> {
        let start = |pipes| Line::start(pipes, self.max_message, self.news.clone());
        let line = line.map(start).transpose()?;
        let known = Known { pid, line, started: false, disconnected: false, ended: None };
        let mut state = self.lock();
        state.newest = state.newest.max(worker);
        state.workers.insert(worker, known);
        state.push(Event::Fork(worker));
        drop(state);
        self.news.notify_waiters();
        Ok(())
    }

    /// Something that happened to a worker which is not its end.
    pub fn happened(&self, event: Event) {
        let mut state = self.lock();
        match &event {
            Event::Online(worker) => {
                // Without an address nothing more comes before its messages.
                let none = state.cluster.listen.is_empty();
                state.started(*worker, none);
            }
            Event::Listening(worker, _) => state.started(*worker, true),
            Event::Setup(cluster) => state.cluster = (**cluster).clone(),
            _ => {}
        }
        state.push(event);
        drop(state);
        self.news.notify_waiters();
    }

    /// The worker is dead; what it has sent is still shown first.
    pub fn exited(&self, worker: u32, status: Status, told: bool) {
        if let Some(known) = self.lock().workers.get_mut(&worker) {
            known.ended = Some((status, told));
            if let Some(line) = &known.line {
                line.end();
            }
        }
        self.news.notify_waiters();
    }

    /// Nothing more will happen.
    pub fn over(&self) {
        self.lock().over = true;
        drop(self.clients.close());
        self.news.notify_waiters();
    }

    /// The next event, or whether there will be one.
    pub fn next_event(&self) -> Result<Event, bool> {
        let mut state = self.lock();
        state.settle();
        if let Some(event) = state.events.pop_front() {
            return Ok(event);
        }
        if state.lost > 0 {
            return Ok(Event::Lost(std::mem::take(&mut state.lost)));
        }
        if let Some((worker, message)) = state.next_message() {
            return Ok(Event::Message(worker, message));
        }
        Err(!(state.over && state.workers.is_empty()))
    }

    pub async fn wait_event(&self) {
        until(&self.news, || self.has_news()).await
    }

    fn has_news(&self) -> bool {
        let mut state = self.lock();
        state.settle();
        let shown = |known: &Known| known.shows() && known.has_message();
        !state.events.is_empty()
            || state.lost > 0
            || state.workers.values().any(shown)
            || (state.over && state.workers.is_empty())
    }
}

impl Known {
    fn shows(&self) -> bool {
        self.started || self.ended.is_some()
    }

    fn has_message(&self) -> bool {
        self.line.as_ref().is_some_and(Line::has_message)
    }
}

impl State {
    fn push(&mut self, event: Event) {
        // Once some are lost, so are those after them, until the program has caught up.
        match self.lost > 0 || self.events.len() >= MAX_EVENTS {
            true => self.lost += 1,
            false => self.events.push_back(event),
        }
    }

    fn started(&mut self, worker: u32, started: bool) {
        if let Some(known) = self.workers.get_mut(&worker) {
            known.started |= started;
        }
    }

    /// Shows the ends of lines whose messages have all been shown, then the ends of their workers.
    fn settle(&mut self) {
        let mut ends = Vec::new();
        self.workers.retain(|id, known| {
            let over = known.line.as_ref().is_none_or(Line::is_over);
            if !known.shows() || !over {
                return true;
            }
            if !std::mem::replace(&mut known.disconnected, true) {
                ends.push(Event::Disconnect(*id));
            }
            let Some((status, told)) = known.ended else { return true };
            ends.push(Event::Exit { worker: *id, status, told });
            false
        });
        ends.into_iter().for_each(|event| self.push(event));
    }

    /// Workers take turns.
    fn next_message(&mut self) -> Option<(u32, Received)> {
        let after = self.workers.range(self.last + 1..);
        let before = self.workers.range(..=self.last);
        let mut waiting = after.chain(before).filter(|(_, known)| known.shows());
        let (id, message) =
            waiting.find_map(|(id, known)| Some((*id, known.line.as_ref()?.receive().ok()?)))?;
        self.last = id;
        Some((id, message))
    }
}
