//! Does what the primary says until it says no more.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::sync::Notify;

use super::conn::{Conn, Released};
use super::connector::ResolverLine;
use super::context::{Drain, Worker};
use super::{LAST_WORDS, ToPrimary, http};
use crate::ipc::message::{ConnectionId, Ends, FromWorker, ToWorker};
use crate::sys;

pub async fn follow(channel: Rc<ToPrimary>, worker: Rc<Worker>, line: ResolverLine) -> Result<()> {
    let took = Took::start(channel.clone());
    let pump = channel.clone();
    tokio::task::spawn_local(async move { pump.pump(|| {}).await });
    let drained = Rc::new(Notify::new());
    let mut acceptors = Vec::new();
    loop {
        let received = tokio::select! {
            received = channel.recv() => received?,
            () = drained.notified() => break,
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
                tokio::task::spawn_local(http::serve(conn, worker.clone()));
            }
            ToWorker::Listener { local } => {
                let fd = fds.pop().context("no listener came along")?;
                acceptors.push(tokio::task::spawn_local(accept(fd, local, worker.clone())));
            }
            ToWorker::Resolver => line.connect(fds.pop().context("no descriptor came along")?)?,
            ToWorker::Drain { hand_back } => {
                acceptors.drain(..).for_each(|task| task.abort());
                let how = if hand_back { release_to(channel.clone()) } else { Drain::Close };
                let (worker, drained) = (worker.clone(), drained.clone());
                tokio::task::spawn_local(async move {
                    worker.drain(how).await;
                    drained.notify_one();
                });
            }
        }
    }
    worker.flush_output(LAST_WORDS).await;
    tokio::time::timeout(LAST_WORDS, channel.flush()).await.unwrap_or(Ok(()))
}

fn release_to(channel: Rc<ToPrimary>) -> Drain {
    Drain::Release(Rc::new(move |released: Released| {
        let Released { fd, read, ends } = released;
        let message = FromWorker::HandBack { ends, read: read.to_vec() };
        let _ = channel.post(&message, vec![fd]);
    }))
}

/// Tells the primary, in batches, which connections have been read from.
#[derive(Clone)]
struct Took(Rc<(RefCell<Vec<ConnectionId>>, Notify)>);

impl Took {
    fn start(channel: Rc<ToPrimary>) -> Took {
        let took = Took(Rc::default());
        let theirs = took.clone();
        tokio::task::spawn_local(async move {
            loop {
                theirs.0.1.notified().await;
                let ids = std::mem::take(&mut *theirs.0.0.borrow_mut());
                if channel.post(&FromWorker::Took(ids), vec![]).is_err() {
                    return;
                }
            }
        });
        took
    }

    fn note(&self, id: ConnectionId) {
        self.0.0.borrow_mut().push(id);
        self.0.1.notify_one();
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
        match sys::accept(listener.as_fd()) {
            Ok((fd, peer)) => {
                let conn = Conn::new(fd, Ends { peer, local })?;
                tokio::task::spawn_local(http::serve(conn, worker.clone()));
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                drop(ready);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(_) => {}
        }
    }
}
