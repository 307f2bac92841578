//! A bounded queue between tasks of one instance.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

struct Shared<T> {
    items: VecDeque<T>,
    limit: usize,
    receiver: Option<Waker>,
    senders: usize,
    closed: bool,
}

/// The sending end; there may be several.
pub struct Sender<T>(Rc<RefCell<Shared<T>>>);

/// The receiving end.
pub struct Receiver<T>(Rc<RefCell<Shared<T>>>);

/// The queue took no more, or its receiver is gone; the item comes back.
#[derive(Debug)]
pub struct Full<T>(pub T);

/// A queue for this many items.
///
/// ```no_run
/// use host::task;
///
/// let (sender, mut receiver) = task::queue(16);
/// task::block_on(async move {
///     task::spawn(async move {
///         while let Some(line) = receiver.next().await {
///             println!("{line}");
///         }
///     });
///     let _ = sender.send("hello");
/// });
/// ```
pub fn queue<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(RefCell::new(Shared {
        items: VecDeque::new(),
        limit,
        receiver: None,
        senders: 1,
        closed: false,
    }));
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Adds an item, or gives it back if there is no room or nobody to take it.
    pub fn send(&self, item: T) -> Result<(), Full<T>> {
        let mut shared = self.0.borrow_mut();
        if shared.closed || shared.items.len() >= shared.limit {
            return Err(Full(item));
        }
        shared.items.push_back(item);
        if let Some(waker) = shared.receiver.take() {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.borrow_mut().senders += 1;
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.senders -= 1;
        if let Some(waker) = shared.receiver.take() {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next item; none when the queue is empty and every sender is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            match shared.items.pop_front() {
                Some(item) => Poll::Ready(Some(item)),
                None if shared.senders == 0 => Poll::Ready(None),
                None => {
                    shared.receiver = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut shared = self.0.borrow_mut();
            shared.closed = true;
            std::mem::take(&mut shared.items)
        };
        // Items may hold senders of this queue; they are dropped while it is not borrowed.
        drop(items);
    }
}
