//! One request from its head to the last byte of its answer: counted, timed and logged when it
//! ends, however it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::Request;
use http_body::Body;

use super::access_log::Entry;
use super::conn::ConnState;
use super::context::Worker;

/// What is counted for a client that went away before its answer began.
const CLIENT_GONE: u16 = 499;

/// Requests that are being answered, and how many may be.
pub struct InFlight {
    now: Cell<u32>,
    most: Cell<u32>,
}

impl InFlight {
    /// 0 is no limit.
    pub fn new(most: u32) -> InFlight {
        InFlight { now: Cell::new(0), most: Cell::new(most) }
    }

    /// This worker's share of what the pool may answer has changed.
    pub fn limit(&self, most: u32) {
        self.most.set(most);
    }

    /// Counts one more until it `ends`; whether it is one too many.
    fn begins(&self) -> bool {
        let (now, most) = (self.now.get() + 1, self.most.get());
        self.now.set(now);
        most > 0 && now > most
    }

    fn ends(&self) {
        self.now.set(self.now.get() - 1);
    }
}

pub struct Ticket {
    worker: Rc<Worker>,
    conn: Arc<ConnState>,
    start: Instant,
    status: u16,
    entry: Option<Box<Entry>>,
    /// The worker answers as many requests as it may.
    pub too_many: bool,
}

impl Ticket {
    pub fn new<B: Body>(
        worker: &Rc<Worker>,
        conn: &Arc<ConnState>,
        peer: Option<std::net::SocketAddr>,
        request: &Request<B>,
    ) -> Ticket {
        worker.scoreboard.request_started();
        conn.request_begins(!request.body().is_end_stream());
        let entry = worker.access_log.as_ref().map(|_| Box::new(Entry::new(peer, request)));
        Ticket {
            worker: worker.clone(),
            conn: conn.clone(),
            start: Instant::now(),
            status: CLIENT_GONE,
            entry,
            too_many: worker.in_flight.begins(),
        }
    }

    pub fn answered(&mut self, status: u16) {
        self.status = status;
    }

    pub fn sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.entry {
            entry.bytes += bytes as u64;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let elapsed = self.start.elapsed();
        self.worker.scoreboard.request_finished(self.status, elapsed.as_micros() as u64);
        self.conn.request_ended();
        self.worker.in_flight.ends();
        if let (Some(log), Some(entry)) = (&self.worker.access_log, &self.entry) {
            log.write(entry, self.status, elapsed);
        }
    }
}
