//! The requests that wait, and the instances that look at them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use super::desk::{Client, Desk};
use super::life::serve_jobs;
use crate::worker::body::RequestBody;
use crate::worker::context::Worker;
use crate::worker::failure::Failure;
use crate::worker::settings::Limits;

const DEFAULT_REUSE: u32 = 128;
const DEFAULT_CONCURRENT: u32 = 16;

pub struct Pool {
    pub(super) queue: RefCell<VecDeque<Job>>,
    /// Instances with room for one more request, waiting to be woken.
    pub(super) listening: RefCell<Vec<Rc<Desk>>>,
    /// Instances woken or started that have not looked at the queue since.
    pub(super) about_to_look: Cell<u32>,
    pub(super) reuse: u32,
    pub(super) concurrent: u32,
    pub(super) idle_timeout: Duration,
    pub(super) round: Cell<u32>,
    pub(super) reaping: Cell<bool>,
}

impl Pool {
    pub fn new(limits: &Limits) -> Pool {
        let no_limit = |count| if count == 0 { u32::MAX } else { count };
        Pool {
            queue: RefCell::default(),
            listening: RefCell::default(),
            about_to_look: Cell::new(0),
            reuse: no_limit(limits.max_instance_reuse_count.unwrap_or(DEFAULT_REUSE)),
            concurrent: no_limit(
                limits.max_instance_concurrent_reuse_count.unwrap_or(DEFAULT_CONCURRENT),
            ),
            idle_timeout: limits.idle_instance_timeout.max(Duration::from_millis(10)),
            round: Cell::new(0),
            reaping: Cell::new(false),
        }
    }

    /// Makes sure that somebody looks at the queue soon.
    pub(super) fn call_somebody(&self, worker: &Rc<Worker>) {
        if self.queue.borrow().is_empty() || self.about_to_look.get() > 0 {
            return;
        }
        let listener = self.listening.borrow_mut().pop();
        if let Some(desk) = listener {
            desk.listening.set(false);
            self.will_look(&desk);
            desk.wake();
        } else if let Some(live) = worker.live.one_more() {
            let desk = Rc::new(Desk::default());
            self.will_look(&desk);
            tokio::task::spawn_local(serve_jobs(worker.clone(), desk, live));
        } else {
            let job = self.queue.borrow_mut().pop_back();
            if let Some(job) = job {
                job.answer(Err(Failure::Overload));
            }
        }
    }

    /// The oldest request whose client is still there.
    pub(super) fn take_job(&self) -> Option<Job> {
        let mut queue = self.queue.borrow_mut();
        loop {
            let job = queue.pop_front()?;
            if !job.client.gone.get() {
                return Some(job);
            }
        }
    }

    pub(super) fn listen(&self, worker: &Rc<Worker>, desk: &Rc<Desk>) {
        if !desk.listening.replace(true) {
            self.listening.borrow_mut().push(desk.clone());
            if !self.reaping.replace(true) {
                tokio::task::spawn_local(reap(worker.clone()));
            }
        }
    }

    pub(super) fn stop_listening(&self, desk: &Rc<Desk>) {
        if desk.listening.replace(false) {
            self.listening.borrow_mut().retain(|other| !Rc::ptr_eq(other, desk));
        }
    }

    pub(super) fn will_look(&self, desk: &Desk) {
        desk.will_look.set(true);
        self.about_to_look.set(self.about_to_look.get() + 1);
    }

    pub(super) fn looked(&self, desk: &Desk) {
        if desk.will_look.replace(false) {
            self.about_to_look.set(self.about_to_look.get() - 1);
        }
    }
}

pub(super) struct Job {
    pub(super) request: Request<RequestBody>,
    pub(super) client: Rc<Client>,
    pub(super) reply: oneshot::Sender<Result<Response<WasiBody>, Failure>>,
}

impl Job {
    pub(super) fn answer(self, result: Result<Response<WasiBody>, Failure>) {
        let _ = self.reply.send(result);
    }
}

/// Tells instances that nobody wanted for a whole round to end; runs only while there are any.
async fn reap(worker: Rc<Worker>) {
    let pool = &worker.concurrent;
    while !pool.listening.borrow().is_empty() {
        tokio::time::sleep(pool.idle_timeout).await;
        let round = pool.round.replace(pool.round.get().wrapping_add(1));
        for desk in pool.listening.borrow().iter() {
            if desk.idle.get().is_some_and(|since| since != round) {
                desk.closing.set(true);
                desk.wake();
            }
        }
    }
    pool.reaping.set(false);
}
