//! The child processes of this process: orders to the primary, which starts them, and what has
//! become of them. The pipes and message lines to them are this process's own.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use anyhow::{Context, Result};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::ipc::child::{Ended, Limit, News, Order, Spawn, SpawnError, Stdio};
use crate::ipc::line::{Line, Pipes, Received, until};
use crate::worker::pipe;

pub struct Children {
    /// Names that were granted.
    pub programs: Vec<String>,
    max_message: usize,
    orders: mpsc::UnboundedSender<Order>,
    state: Mutex<Known>,
    next_ticket: AtomicU64,
}

struct Known {
    /// Taken by whoever carries orders to the primary; until then nothing can be started.
    queue: Option<mpsc::UnboundedReceiver<Order>>,
    waiting: HashMap<u64, (Spawn, Answer)>,
    live: HashMap<u64, Arc<Child>>,
}

type Answer = oneshot::Sender<Result<Arc<Child>, SpawnError>>;

impl Children {
    pub fn new(programs: Vec<String>, max_message: usize) -> Children {
        let (orders, queue) = mpsc::unbounded_channel();
        let state = Known { queue: Some(queue), waiting: HashMap::new(), live: HashMap::new() };
        let state = Mutex::new(state);
        Children { programs, max_message, orders, state, next_ticket: AtomicU64::new(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn take_orders(&self) -> Option<mpsc::UnboundedReceiver<Order>> {
        self.lock().queue.take()
    }

    pub async fn start(&self, spawn: Spawn) -> Result<Arc<Child>, SpawnError> {
        let (answer, answered) = oneshot::channel();
        let ticket = self.next_ticket.fetch_add(1, Relaxed);
        {
            let mut known = self.lock();
            if known.queue.is_some() {
                return Err(SpawnError::Failed("the process is not ready yet".into()));
            }
            known.waiting.insert(ticket, (spawn.clone(), answer));
        }
        let order = Order::Start { ticket, spawn: Box::new(spawn) };
        self.orders.send(order).map_err(|_| SpawnError::Stopping)?;
        answered.await.unwrap_or(Err(SpawnError::Stopping))
    }

    pub fn hear(&self, news: News, fds: Vec<OwnedFd>) -> Result<()> {
        match news {
            News::Started { ticket, child, pid } => {
                let Some((spawn, answer)) = self.lock().waiting.remove(&ticket) else {
                    return Ok(());
                };
                let child = Arc::new(Child::new(child, pid, &spawn, fds, self.max_message)?);
                self.lock().live.insert(child.id, child.clone());
                // Whoever wanted it is gone, and nobody else knows of it.
                if let Err(Ok(child)) = answer.send(Ok(child)) {
                    let _ = self.signal(&child, libc::SIGKILL);
                }
            }
            News::Refused { ticket, why } => {
                if let Some((_, answer)) = self.lock().waiting.remove(&ticket) {
                    let _ = answer.send(Err(why));
                }
            }
            News::Ended { child, end } => {
                if let Some(child) = self.lock().live.remove(&child) {
                    let limit = child.limit.get().copied().or(end.limit);
                    let _ = child.ended.set(Ended { limit, ..end });
                    child.news.notify_waiters();
                }
            }
        }
        Ok(())
    }

    /// Fails if it has ended.
    pub fn signal(&self, child: &Child, signal: i32) -> Result<(), ()> {
        if child.ended.get().is_some() {
            return Err(());
        }
        self.orders.send(Order::Signal { child: child.id, signal }).map_err(drop)
    }

    pub fn by_pid(&self, pid: u32) -> Option<Arc<Child>> {
        self.lock().live.values().find(|child| child.pid == pid).cloned()
    }
}

/// A stream to or from a child that its spawner may take, once.
pub enum Slot<T> {
    NotPiped,
    Here(T),
    Taken,
}

impl<T> Slot<T> {
    /// Whether it was taken before is the error.
    pub fn take(&mut self) -> Result<T, bool> {
        match self {
            Slot::NotPiped => Err(false),
            Slot::Taken => Err(true),
            Slot::Here(_) => match std::mem::replace(self, Slot::Taken) {
                Slot::Here(stream) => Ok(stream),
                _ => Err(true),
            },
        }
    }
}

pub struct Child {
    pub id: u64,
    pub pid: u32,
    pub line: Option<Line>,
    pub ended: OnceLock<Ended>,
    /// A limit of ours that it was ended for.
    pub limit: OnceLock<Limit>,
    pub streams: Mutex<Streams>,
    told: Mutex<Told>,
    open: Arc<Open>,
    news: Arc<Notify>,
}

pub struct Streams {
    pub stdin: Slot<pipe::Output>,
    pub stdout: Slot<pipe::Input>,
    pub stderr: Slot<pipe::Input>,
}

#[derive(Default)]
struct Told {
    disconnect: bool,
    exit: bool,
    close: bool,
}

/// Output streams that somebody has taken and not read to the end.
struct Open {
    count: AtomicUsize,
    news: Arc<Notify>,
}

struct OneOpen(Arc<Open>);

impl pipe::Ending for OneOpen {
    fn ended(&self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.news.notify_waiters();
    }
}

pub enum Event {
    Message(Received),
    Disconnect,
    Exit(Ended),
    Close,
}

impl Child {
    fn new(id: u64, pid: u32, spawn: &Spawn, fds: Vec<OwnedFd>, max: usize) -> Result<Child> {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| match wanted {
            true => fds.next().context("a descriptor of a child is missing").map(Some),
            false => Ok(None),
        };
        let piped = spawn.stdio.map(|stdio| stdio == Stdio::Pipe);
        let [stdin, stdout, stderr] = [next(piped[0])?, next(piped[1])?, next(piped[2])?];
        let news: Arc<Notify> = Arc::default();
        let pipes = spawn.ipc.then(|| Pipes::take(&mut fds)).transpose()?;
        let line = pipes.map(|pipes| Line::start(pipes, max, news.clone())).transpose()?;
        let input = |fd: Option<OwnedFd>| -> Result<Slot<pipe::Input>> {
            Ok(fd.map(pipe::Input::new).transpose()?.map_or(Slot::NotPiped, Slot::Here))
        };
        let stdin = stdin.map(pipe::Output::new).transpose()?.map_or(Slot::NotPiped, Slot::Here);
        let streams = Streams { stdin, stdout: input(stdout)?, stderr: input(stderr)? };
        Ok(Child {
            id,
            pid,
            line,
            ended: OnceLock::new(),
            limit: OnceLock::new(),
            streams: Mutex::new(streams),
            told: Mutex::default(),
            open: Arc::new(Open { count: AtomicUsize::new(0), news: news.clone() }),
            news,
        })
    }

    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts an output stream that is given away.
    pub fn counted(&self, stream: pipe::Input) -> pipe::Input {
        self.open.count.fetch_add(1, Relaxed);
        stream.on_end(Box::new(OneOpen(self.open.clone())))
    }

    /// Nobody holds it any more: its pipes and its line close, the process goes on.
    pub fn let_go(&self) {
        *self.streams() = Streams { stdin: Slot::Taken, stdout: Slot::Taken, stderr: Slot::Taken };
        if let Some(line) = &self.line {
            line.end();
        }
    }

    pub async fn wait_end(&self) {
        until(&self.news, || self.ended.get().is_some()).await
    }

    /// The next event, or whether there will be one.
    pub fn next_event(&self) -> Result<Event, bool> {
        if let Some(message) = self.line.as_ref().and_then(|line| line.receive().ok()) {
            return Ok(Event::Message(message));
        }
        let mut told = self.told();
        if self.is_disconnected() && !std::mem::replace(&mut told.disconnect, true) {
            return Ok(Event::Disconnect);
        }
        if self.line.is_some() && !told.disconnect {
            return Err(true);
        }
        let Some(end) = self.ended.get() else { return Err(true) };
        if !std::mem::replace(&mut told.exit, true) {
            return Ok(Event::Exit(*end));
        }
        if told.close {
            return Err(false);
        }
        if self.open.count.load(Relaxed) > 0 {
            return Err(true);
        }
        told.close = true;
        drop(told);
        // What nobody has asked for until now, nobody will.
        self.let_go();
        Ok(Event::Close)
    }

    fn is_disconnected(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_over)
    }

    fn has_event(&self) -> bool {
        if self.line.as_ref().is_some_and(Line::has_message) {
            return true;
        }
        let told = self.told();
        if self.line.is_some() && !told.disconnect {
            return self.is_disconnected();
        }
        match (told.exit, told.close) {
            (false, _) => self.ended.get().is_some(),
            (true, false) => self.open.count.load(Relaxed) == 0,
            (true, true) => true,
        }
    }

    pub async fn wait_event(&self) {
        until(&self.news, || self.has_event()).await
    }
}
