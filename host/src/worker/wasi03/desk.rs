//! What an instance's task and the clients it serves know of each other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// The one who waits for an answer; when it is gone, its instance must know.
#[derive(Default)]
pub(super) struct Client {
    pub(super) gone: Cell<bool>,
    pub(super) answered: Cell<bool>,
    pub(super) desk: RefCell<Option<Rc<Desk>>>,
}

pub(super) struct ClientGuard(pub(super) Rc<Client>);

impl ClientGuard {
    pub(super) fn lost_its_instance(&self) -> bool {
        self.0.desk.borrow().as_ref().is_some_and(|desk| desk.trapped.get())
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.gone.set(true);
        if let Some(desk) = self.0.desk.take() {
            if self.0.answered.get() {
                desk.streaming.set(desk.streaming.get() - 1);
            }
            desk.wake();
        }
    }
}

/// What an instance's task shares with its clients and with the pool.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) will_look: Cell<bool>,
    pub(super) listening: Cell<bool>,
    /// At most one request is taken per poll: the next one waits until the plugin has given way.
    pub(super) may_take: Cell<bool>,
    pub(super) took: Cell<bool>,
    pub(super) trapped: Cell<bool>,
    /// Takes no more requests.
    pub(super) closing: Cell<bool>,
    /// Has no request and no work left of one, since this round of the reaper.
    pub(super) idle: Cell<Option<u32>>,
    pub(super) served: Cell<u32>,
    pub(super) streaming: Cell<u32>,
    pub(super) waiting: RefCell<Vec<Rc<Client>>>,
    pub(super) waker: RefCell<Option<Waker>>,
}

impl Desk {
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Looks after clients that left before their answer: nothing can cancel a plugin's task alone,
    /// so the instance takes no more, and ends when nobody else needs it. Says whether that is now.
    pub(super) fn abandoned(&self) -> bool {
        let waiting = self.waiting.borrow();
        if waiting.iter().any(|client| client.gone.get()) {
            self.closing.set(true);
        }
        !waiting.is_empty()
            && self.streaming.get() == 0
            && waiting.iter().all(|client| client.gone.get())
    }

    pub(super) fn wanted(&self) -> bool {
        self.streaming.get() > 0 || !self.waiting.borrow().is_empty()
    }

    pub(super) fn admit(self: &Rc<Self>, client: &Rc<Client>) {
        *client.desk.borrow_mut() = Some(self.clone());
        self.waiting.borrow_mut().push(client.clone());
    }

    pub(super) fn answered(&self, client: &Rc<Client>) {
        self.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, client));
        if !client.gone.get() {
            client.answered.set(true);
            self.streaming.set(self.streaming.get() + 1);
        }
    }
}
