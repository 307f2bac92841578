//! Where a connection stands, as its task, its request and the sweeper see it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::task::Context;

use futures::task::AtomicWaker;

/// Where a connection stands. The order of the numbers is that of a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub enum Phase {
    /// Nothing read yet.
    Fresh = 0,
    /// Answered and flushed, waiting for the next request.
    Idle = 1,
    /// A request's head is coming in.
    Head = 2,
    /// A request is in the plugin's hands, or its answer on the way.
    Busy = 3,
    /// The answer is complete but perhaps not all in the kernel's hands.
    Finishing = 4,
}

/// Shared by the connection's task, the request body (which plugin code owns and may hold on to)
/// and the sweeper. Relaxed atomics only because the body must be `Send`; all run on one thread.
pub struct ConnState {
    phase: AtomicU8,
    /// The sweep in which the phase began, or in which a blocked write was first seen.
    since: AtomicU32,
    now: AtomicU32,
    in_flight: AtomicU32,
    /// The client does not take what we write.
    blocked: AtomicBool,
    /// The last request's body was read to its end, so the next byte begins a request.
    body_read: AtomicBool,
    expired: AtomicBool,
    task: AtomicWaker,
    end: OnceLock<End>,
}

/// Called when the last who knows of the connection is gone.
struct End(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Drop for End {
    fn drop(&mut self) {
        let call = self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        call.into_iter().for_each(|call| call());
    }
}

impl Default for ConnState {
    fn default() -> ConnState {
        ConnState {
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU32::new(0),
            now: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            body_read: AtomicBool::new(true),
            expired: AtomicBool::new(false),
            task: AtomicWaker::new(),
            end: OnceLock::new(),
        }
    }
}

impl ConnState {
    /// Once only.
    pub fn on_end(&self, call: Box<dyn FnOnce() + Send>) {
        let _ = self.end.set(End(Mutex::new(Some(call))));
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Fresh,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Busy,
            _ => Phase::Finishing,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.now.load(Relaxed), Relaxed);
    }

    pub(super) fn bytes_came(&self) {
        if self.phase() <= Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    pub(super) fn wrote(&self, ready: bool) {
        if self.blocked.load(Relaxed) == ready {
            self.blocked.store(!ready, Relaxed);
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Finishing {
            self.enter(Phase::Idle);
        }
    }

    pub fn request_begins(&self, has_body: bool) {
        self.in_flight.fetch_add(1, Relaxed);
        self.body_read.store(!has_body, Relaxed);
        self.enter(Phase::Busy);
    }

    pub fn request_body_ended(&self) {
        self.body_read.store(true, Relaxed);
    }

    pub fn request_ended(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.enter(Phase::Finishing);
        }
    }

    /// Between two requests, with no byte of either in the HTTP library's own state: what it has
    /// read but not parsed comes out with the connection.
    pub fn between_requests(&self) -> bool {
        self.phase() <= Phase::Head && self.body_read.load(Relaxed)
    }

    pub fn blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Sweeps spent in the present phase.
    pub fn age(&self) -> u32 {
        self.now.load(Relaxed).wrapping_sub(self.since.load(Relaxed))
    }

    pub fn sweep(&self, now: u32) {
        self.now.store(now, Relaxed);
    }

    /// A connection of an older worker begins its life here.
    pub fn born(&self, now: u32) {
        self.now.store(now, Relaxed);
        self.since.store(now, Relaxed);
    }

    pub fn expire(&self) {
        self.expired.store(true, Relaxed);
        self.task.wake();
    }

    pub fn expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    pub fn wake(&self) {
        self.task.wake();
    }

    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }
}
