//! The control socket: Unix, mode 0600, and only for our own user and root. Clients get one order at
//! a time each, all of them together a bounded share of the loop; what they send is checked before
//! it is believed and never sizes memory.

mod client;
mod socket;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::news::News;
use super::output::Output;
use super::scale::Reply;
use crate::control::protocol::{Order, Status};

pub use socket::Socket;

/// Clients served at the same time; further ones are turned away.
const MAX_CLIENTS: usize = 32;
/// Orders that may wait for the loop.
const ORDERS: usize = 8;
/// The pause after each order, for all clients together: a flood leaves the loop to its work.
const PAUSE: Duration = Duration::from_micros(500);

/// What the event loop is asked for.
pub enum Wanted {
    Status(oneshot::Sender<Status>),
    Do(Order, Reply),
}

/// How orders reach the event loop; clones share the queue.
#[derive(Clone)]
pub struct Orders {
    queue: mpsc::Sender<Wanted>,
    turn: Rc<Semaphore>,
}

pub fn orders() -> (Orders, mpsc::Receiver<Wanted>) {
    let (queue, wanted) = mpsc::channel(ORDERS);
    (Orders { queue, turn: Rc::new(Semaphore::new(1)) }, wanted)
}

impl Orders {
    /// `None` when the host is about to end.
    pub async fn status(&self) -> Option<Status> {
        let (reply, answer) = oneshot::channel();
        self.send(Wanted::Status(reply)).await?;
        answer.await.ok()
    }

    async fn send(&self, wanted: Wanted) -> Option<()> {
        let turn = self.turn.acquire().await.ok()?;
        self.queue.send(wanted).await.ok()?;
        tokio::time::sleep(PAUSE).await;
        drop(turn);
        Some(())
    }

    async fn tell(&self, order: Order) -> Result<String, String> {
        let ended = || "the host is stopping".to_owned();
        let (reply, answer) = oneshot::channel();
        self.send(Wanted::Do(order, reply)).await.ok_or_else(ended)?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// What a client's task can reach.
#[derive(Clone)]
pub struct Reach {
    pub orders: Orders,
    pub news: News,
    pub output: Output,
}

/// Accepts clients for as long as the socket lives.
pub async fn serve(listener: UnixListener, reach: Reach) {
    let clients = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let refusal = match socket::may_talk(&stream) {
            true => (clients.get() >= MAX_CLIENTS).then_some("too many clients"),
            false => Some("this host belongs to another user"),
        };
        if let Some(why) = refusal {
            client::turn_away(stream, why);
            // Whoever comes too often is made to wait, not the loop.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        clients.set(clients.get() + 1);
        let (reach, clients) = (reach.clone(), clients.clone());
        tokio::task::spawn_local(async move {
            client::serve(stream, reach).await;
            clients.set(clients.get() - 1);
        });
    }
}
