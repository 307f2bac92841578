//! Does what the primary says until it says no more.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use super::conn::{Conn, Released};
use super::connector::ResolverLine;
use super::context::{Drain, Worker};
use super::imports::{self, Wish};
use super::plugin::Handler;
use super::{LAST_WORDS, ToPrimary, files, http, tcp};
use crate::ipc::child::Order;
use crate::ipc::message::{ConnectionId, Ends, FromWorker, ToWorker};
use crate::sys;

/// A primary program that does not read keeps an ending worker waiting this long.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// Ends with the code the process is to exit with.
pub async fn follow(
    channel: Rc<ToPrimary>,
    worker: Rc<Worker>,
    line: ResolverLine,
    mut wishes: UnboundedReceiver<Wish>,
) -> Result<u8> {
    let took = Took::start(channel.clone());
    let pump = channel.clone();
    tokio::task::spawn_local(async move { pump.pump(|| {}).await });
    if let Some(orders) = worker.shared.children.take_orders() {
        tokio::task::spawn_local(carry(orders, channel.clone()));
    }
    let mut end = Ending::new(&channel, &worker, &took);
    let mut acceptors = Vec::new();
    loop {
        let received = tokio::select! {
            received = channel.recv() => received?,
            Some(wish) = wishes.recv() => {
                end.fulfil(wish).await;
                continue;
            }
            () = end.drained.notified() => break,
        };
        // Without the primary nothing here has a purpose.
        let Some((message, mut fds)) = received else { break };
        match message {
            ToWorker::Setup(_) => {}
            ToWorker::Connection { id, ends, read } => {
                let fd = fds.pop().context("no connection came along")?;
                // Noted when it is called, and when the connection ends uncalled.
                let untaken = Untaken(took.clone(), id);
                let conn = Conn::new(fd, ends)?
                    .with_prefix(read.into())
                    .on_first_read(Box::new(move || drop(untaken)));
                if worker.limits().tells_ends {
                    let took = took.clone();
                    conn.state.on_end(Box::new(move || took.note_end(id)));
                }
                serve(conn, &worker);
            }
            ToWorker::Listener { local } => {
                let fd = fds.pop().context("no listener came along")?;
                acceptors.push(tokio::task::spawn_local(accept(fd, local, worker.clone())));
            }
            ToWorker::Files => files::connect(fds.pop().context("no descriptor came along")?),
            ToWorker::Resolver => line.connect(fds.pop().context("no descriptor came along")?)?,
            ToWorker::Child(news) => worker.shared.children.hear(news, fds)?,
            ToWorker::MayAnswer(most) => worker.in_flight.limit(most),
            ToWorker::Signal(number) => {
                if let Some(signal) = imports::signal(number) {
                    worker.resident.signal(signal);
                }
            }
            ToWorker::Drain { hand_back } => {
                acceptors.drain(..).for_each(|task| task.abort());
                end.drain(if hand_back { end.release() } else { Drain::Close });
            }
        }
    }
    // Connections handed back, and the code of a main loop that has just returned.
    while let Ok(wish) = wishes.try_recv() {
        end.fulfil(wish).await;
    }
    worker.flush_output(LAST_WORDS).await;
    if let Some(messages) = &worker.shared.line {
        let _ = tokio::time::timeout(LAST_MESSAGES, messages.wait_sent()).await;
    }
    took.tell(&channel);
    tokio::time::timeout(LAST_WORDS, channel.flush()).await.unwrap_or(Ok(()))?;
    Ok(end.code.unwrap_or(0))
}

/// Orders for child processes.
async fn carry(mut orders: UnboundedReceiver<Order>, channel: Rc<ToPrimary>) {
    while let Some(order) = orders.recv().await {
        if channel.post(&FromWorker::Child(order), vec![]).is_err() {
            return;
        }
    }
}

/// How the worker ends, whoever began it.
struct Ending {
    channel: Rc<ToPrimary>,
    worker: Rc<Worker>,
    took: Took,
    drained: Rc<Notify>,
    begun: bool,
    /// The first one asked for.
    code: Option<u8>,
}

impl Ending {
    fn new(channel: &Rc<ToPrimary>, worker: &Rc<Worker>, took: &Took) -> Ending {
        let (channel, worker, took) = (channel.clone(), worker.clone(), took.clone());
        Ending { channel, worker, took, drained: Rc::default(), begun: false, code: None }
    }

    async fn fulfil(&mut self, wish: Wish) {
        match wish {
            Wish::Exit(code) => {
                self.code.get_or_insert(code);
                self.leave(false);
            }
            Wish::Leave => self.leave(true),
            Wish::Abort => {
                self.worker.flush_output(LAST_WORDS).await;
                if let Some(messages) = &self.worker.shared.line {
                    let _ = tokio::time::timeout(LAST_WORDS, messages.wait_sent()).await;
                }
                std::process::abort();
            }
            Wish::HandBack { fd, mut ends } => {
                let read = std::mem::take(&mut ends.read);
                self.took.tell(&self.channel);
                let _ = self.channel.post(&FromWorker::HandBack { ends, read }, vec![fd]);
            }
        }
    }

    /// Each connection that comes free goes back to the primary.
    fn release(&self) -> Drain {
        let (channel, took) = (self.channel.clone(), self.took.clone());
        Drain::Release(Rc::new(move |released: Released| {
            let Released { fd, read, ends } = released;
            took.tell(&channel);
            let message = FromWorker::HandBack { ends, read: read.to_vec() };
            let _ = channel.post(&message, vec![fd]);
        }))
    }

    /// The worker's own decision, which the primary has to know.
    fn leave(&mut self, disconnected: bool) {
        if !self.begun {
            let _ = self.channel.post(&FromWorker::Leaving { disconnected }, vec![]);
            self.drain(self.release());
        }
    }

    fn drain(&mut self, how: Drain) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let (worker, drained) = (self.worker.clone(), self.drained.clone());
        tokio::task::spawn_local(async move {
            worker.drain(how).await;
            drained.notify_one();
        });
    }
}

/// To whom a connection belongs, the plugin decides by what it exports.
fn serve(conn: Conn, worker: &Rc<Worker>) {
    match worker.plugin.handler {
        Handler::V02(_) | Handler::V03(_) => http::serve(conn, worker),
        _ => tcp::serve(conn, worker),
    }
}

/// Tells the primary, in batches, which connections have been read from, and which have ended.
#[derive(Clone, Default)]
struct Took {
    ids: Arc<Mutex<Ids>>,
    work: Arc<Notify>,
}

#[derive(Default)]
struct Ids {
    taken: Vec<ConnectionId>,
    ended: Vec<ConnectionId>,
}

/// Of one frame.
const BATCH: usize = 1024;

impl Took {
    fn start(channel: Rc<ToPrimary>) -> Took {
        let took = Took::default();
        let teller = took.clone();
        tokio::task::spawn_local(async move {
            loop {
                teller.work.notified().await;
                teller.tell(&channel);
            }
        });
        took
    }

    fn note(&self, id: ConnectionId) {
        self.lock().taken.push(id);
        self.work.notify_one();
    }

    fn note_end(&self, id: ConnectionId) {
        self.lock().ended.push(id);
        self.work.notify_one();
    }

    /// Comes before a connection is handed back and before the end: of one the primary does not know
    /// to be taken it would give away its own copy too.
    fn tell(&self, channel: &ToPrimary) {
        let Ids { taken, ended } = std::mem::take(&mut *self.lock());
        for batch in taken.chunks(BATCH) {
            let _ = channel.post(&FromWorker::Took(batch.to_vec()), vec![]);
        }
        for batch in ended.chunks(BATCH) {
            let _ = channel.post(&FromWorker::Ended(batch.to_vec()), vec![]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A connection the primary still holds a copy of.
struct Untaken(Took, ConnectionId);

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// Under `--balance shared` and `reuseport` the worker accepts for itself.
async fn accept(listener: OwnedFd, local: Option<SocketAddr>, worker: Rc<Worker>) -> Result<()> {
    let listener = sys::watch(listener, Interest::READABLE).context("watch listener")?;
    loop {
        let mut ready = listener.readable().await.context("wait for listener")?;
        worker.wait_for_room().await;
        match sys::accept(listener.as_fd()) {
            Ok((fd, peer)) => {
                let conn = Conn::new(fd, Ends { peer, local, ..Ends::default() })?;
                serve(conn, &worker);
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            // It listens no more: the host stops.
            Err(Errno::EINVAL) => return Ok(()),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                drop(ready);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(_) => {}
        }
    }
}
