//! Clients that keep asking from threads of their own, and count what comes of it.

use super::http::{Connection, get_request};
use super::{DEADLINE, wait_for};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    KeepAlive,
    /// A connection for each request.
    Fresh,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub answered: u64,
    /// Answered with another status than 200.
    pub bad_status: u64,
    /// Nothing came, not one byte, though the request was sent.
    pub unanswered: u64,
    /// An answer that stopped in the middle.
    pub broken: u64,
    /// Nobody accepted the connection.
    pub refused: u64,
    /// Answers that ended a connection which was to be kept.
    pub closed: u64,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    pub fn start(address: SocketAddr, path: &str, style: Style, clients: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let client = || {
            let (path, stop, answered) = (path.to_owned(), stop.clone(), answered.clone());
            std::thread::spawn(move || client(address, &path, style, &stop, &answered))
        };
        let clients = (0..clients).map(|_| client()).collect();
        Load { stop, answered, clients }
    }

    /// Waits until this many more requests have been answered.
    pub fn wait_answers(&self, more: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        wait_for("answers", || (self.answered.load(Ordering::Relaxed) >= goal).then_some(()));
    }

    /// Stops the clients and adds up what they saw.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits for the clients to give up by themselves because nobody accepts any more.
    pub fn join(self) -> Tally {
        let mut sum = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("a client");
            sum.answered += tally.answered;
            sum.bad_status += tally.bad_status;
            sum.unanswered += tally.unanswered;
            sum.broken += tally.broken;
            sum.refused += tally.refused;
            sum.closed += tally.closed;
        }
        sum
    }
}

fn client(
    address: SocketAddr,
    path: &str,
    style: Style,
    stop: &AtomicBool,
    answered: &AtomicU64,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    let start = std::time::Instant::now();
    while !stop.load(Ordering::Relaxed) {
        assert!(start.elapsed() < DEADLINE * 2, "nobody stopped the load");
        let mut open = match connection.take().map_or_else(|| Connection::try_open(address), Ok) {
            Ok(open) => open,
            Err(_) => {
                tally.refused += 1;
                break;
            }
        };
        if open.try_send(get_request(path)).is_err() {
            tally.unanswered += 1;
            continue;
        }
        match open.try_response() {
            Ok(Some(response)) => {
                tally.answered += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                tally.bad_status += u64::from(response.status() != 200);
                if style == Style::KeepAlive {
                    match response.head.closes() {
                        true => tally.closed += 1,
                        false => connection = Some(open),
                    }
                }
            }
            Ok(None) => tally.unanswered += 1,
            Err(_) => tally.broken += 1,
        }
    }
    tally
}
