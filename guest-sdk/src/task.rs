//! A small executor over WASI pollables: many connections, timers and message queues in one instance, on the one
//! thread a component has.
//!
//! ```no_run
//! use std::time::Duration;
//! use host::task;
//!
//! task::block_on(async {
//!     task::spawn(async {
//!         task::sleep(Duration::from_secs(1)).await;
//!         println!("second");
//!     });
//!     println!("first");
//! });
//! ```

mod queue;

pub use queue::{Full, Receiver, Sender, queue};

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use wasip2::{
    clocks::monotonic_clock,
    io::poll::{Pollable, poll},
};

type TaskId = u64;

/// The future of `block_on` itself; tasks count from 1.
const MAIN: TaskId = 0;

/// A task that has gone on this often without waiting lets the others run.
const BUDGET: u32 = 32;

#[derive(Default)]
struct Reactor {
    /// True inside `block_on`.
    running: bool,
    next: TaskId,
    tasks: BTreeMap<TaskId, Task>,
    ready: VecDeque<TaskId>,
    waits: Vec<Rc<Waiting>>,
}

struct Task {
    /// None while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
}

struct Waiting {
    pollable: Rc<Pollable>,
    /// Set once the reactor knows of it.
    waker: RefCell<Option<Waker>>,
    fired: Cell<bool>,
}

impl Waiting {
    fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

thread_local! {
    static REACTOR: RefCell<Reactor> = RefCell::default();
    static SPENT: Cell<u32> = const { Cell::new(0) };
}

fn reactor<T>(act: impl FnOnce(&mut Reactor) -> T) -> T {
    REACTOR.with_borrow_mut(act)
}

struct Alarm(TaskId);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        reactor(|reactor| {
            if !reactor.ready.contains(&self.0) {
                reactor.ready.push_back(self.0);
            }
        });
    }
}

/// Runs a future, and everything it spawns, to the end. The handlers that `#[host::http]` and `#[host::tcp]` export
/// do so by themselves; a plain `main` calls it.
///
/// # Panics
///
/// When called from inside itself.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let nested = reactor(|reactor| std::mem::replace(&mut reactor.running, true));
    assert!(!nested, "block_on inside of block_on");
    let mut future = std::pin::pin!(future);
    let mut result = None;
    let waker = Waker::from(Arc::new(Alarm(MAIN)));
    // A handler that waits for nothing ends here, without a task or a host call.
    poll_main(&mut future, &waker, &mut result);
    while result.is_none() || reactor(|reactor| !reactor.tasks.is_empty()) {
        let idle = reactor(|reactor| reactor.ready.is_empty());
        if !idle {
            run_ready(|| poll_main(&mut future, &waker, &mut result));
        }
        let (idle, done) = reactor(|reactor| (reactor.ready.is_empty(), reactor.tasks.is_empty()));
        if result.is_none() || !done {
            wait_for_pollables(idle);
        }
    }
    reactor(|reactor| {
        reactor.running = false;
        reactor.ready.clear();
    });
    match result {
        Some(value) => value,
        None => unreachable!("the loop ends with a result"),
    }
}

fn poll_main<T>(
    future: &mut Pin<&mut impl Future<Output = T>>,
    waker: &Waker,
    result: &mut Option<T>,
) {
    if result.is_some() {
        return;
    }
    SPENT.set(0);
    if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(waker)) {
        *result = Some(value);
    }
}

/// Lets a future run beside the others of this instance. It is not awaited; `block_on` returns when it has ended too.
///
/// Outside of `block_on` it starts with the next `block_on`.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    reactor(|reactor| {
        reactor.next += 1;
        let id = reactor.next;
        let waker = Waker::from(Arc::new(Alarm(id)));
        reactor.tasks.insert(id, Task { future: Some(Box::pin(future)), waker });
        reactor.ready.push_back(id);
    });
}

/// Waits this long.
pub async fn sleep(duration: Duration) {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    wait(&Rc::new(monotonic_clock::subscribe_duration(nanos))).await;
}

/// Lets every other task that can run do so first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits for the first of two futures and drops the other.
pub async fn race<T>(one: impl Future<Output = T>, two: impl Future<Output = T>) -> T {
    let mut one = std::pin::pin!(one);
    let mut two = std::pin::pin!(two);
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Pending => two.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// Waits until a pollable is ready. Where no executor of ours runs (in a handler of WASI 0.3) it blocks the instance.
pub(crate) struct Wait(Rc<Waiting>);

pub(crate) fn wait(pollable: &Rc<Pollable>) -> Wait {
    Wait(Rc::new(Waiting {
        pollable: Rc::clone(pollable),
        waker: RefCell::new(None),
        fired: Cell::new(false),
    }))
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waiting = &self.0;
        SPENT.set(0);
        if !reactor(|reactor| reactor.running) {
            waiting.pollable.block();
            waiting.fired.set(true);
        }
        if waiting.fired.get() {
            return Poll::Ready(());
        }
        let before = waiting.waker.borrow_mut().replace(context.waker().clone());
        if before.is_none() {
            reactor(|reactor| reactor.waits.push(Rc::clone(waiting)));
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.0.waker.borrow().is_some() && !self.0.fired.get() {
            reactor(|reactor| reactor.waits.retain(|waiting| !Rc::ptr_eq(waiting, &self.0)));
        }
    }
}

/// To be polled before an operation that may succeed at once: keeps one busy stream from starving the others.
pub(crate) fn poll_turn(context: &mut Context<'_>) -> Poll<()> {
    let spent = SPENT.get() + 1;
    SPENT.set(spent);
    if spent < BUDGET || !reactor(|reactor| reactor.running) {
        return Poll::Ready(());
    }
    SPENT.set(0);
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Polls each task that is ready now, once.
fn run_ready(mut poll_main: impl FnMut()) {
    for _ in 0..reactor(|reactor| reactor.ready.len()) {
        match reactor(|reactor| reactor.ready.pop_front()) {
            None => return,
            Some(MAIN) => poll_main(),
            Some(id) => poll_task(id),
        }
    }
}

fn poll_task(id: TaskId) {
    let taken = reactor(|reactor| {
        let task = reactor.tasks.get_mut(&id)?;
        Some((task.future.take()?, task.waker.clone()))
    });
    let Some((mut future, waker)) = taken else { return };
    SPENT.set(0);
    if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        return reactor(|reactor| {
            if let Some(task) = reactor.tasks.get_mut(&id) {
                task.future = Some(future);
            }
        });
    }
    // The future itself is dropped outside of the reactor, which what it holds may call.
    reactor(|reactor| drop(reactor.tasks.remove(&id)));
}

/// Wakes whom the host has something for; sleeps until it has, if there is nothing else to do.
fn wait_for_pollables(idle: bool) {
    let take_only = |reactor: &mut Reactor| match reactor.waits.len() {
        1 => reactor.waits.pop(),
        _ => None,
    };
    if idle && let Some(only) = reactor(take_only) {
        only.pollable.block();
        return only.fire();
    }
    let waits = reactor(|reactor| reactor.waits.clone());
    if waits.is_empty() {
        assert!(!idle, "every task waits for another one");
        return;
    }
    let now = (!idle).then(|| monotonic_clock::subscribe_duration(0));
    let pollables: Vec<&Pollable> =
        waits.iter().map(|waiting| &*waiting.pollable).chain(now.as_ref()).collect();
    for index in poll(&pollables) {
        if let Some(waiting) = waits.get(index as usize) {
            waiting.fire();
        }
    }
    reactor(|reactor| reactor.waits.retain(|waiting| !waiting.fired.get()));
}
