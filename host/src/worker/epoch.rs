//! The clock that makes spinning plugins give way. One thread raises the engine's epoch every few
//! milliseconds while plugin code runs, and sleeps in the kernel when none does: an idle worker
//! makes no wake-ups.
//!
//! The engine interrupts an instance so many ticks after it was called, even if it has waited for
//! most of them; whether it has really computed since is seen from when it was last resumed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Barrier};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use wasmtime::{Engine, UpdateDeadline};

const TICK: Duration = Duration::from_millis(2);
/// Ticks without any plugin code before the thread sleeps.
const QUIET_TICKS: u32 = 50;
/// How many ticks a plugin computes before it must let others run.
pub const TICKS_PER_TURN: u64 = 2;

/// Who has used up a turn, and who gets the next.
pub struct Turns {
    ticks: AtomicU64,
    /// The tick at which the plugin code that runs now was resumed.
    resumed: AtomicU64,
    line: Semaphore,
}

impl Turns {
    pub fn new() -> Arc<Turns> {
        let (ticks, resumed) = Default::default();
        Arc::new(Turns { ticks, resumed, line: Semaphore::new(1) })
    }

    /// What is to become of an instance that the engine has interrupted.
    pub fn interrupted(self: &Arc<Turns>) -> UpdateDeadline {
        let used = self.ticks.load(Relaxed).wrapping_sub(self.resumed.load(Relaxed));
        match TICKS_PER_TURN.checked_sub(used) {
            Some(left @ 1..) => UpdateDeadline::Continue(left),
            _ => UpdateDeadline::YieldCustom(TICKS_PER_TURN, Box::pin(self.clone().next())),
        }
    }

    /// Those that compute for long wait for their next turn in one line, however many they are:
    /// between two looks at the network only one of them runs. tokio's own yield is what lets the
    /// network be looked at; waking at once would let a plugin run dozens of turns before that.
    async fn next(self: Arc<Turns>) {
        let first_in_line = self.line.acquire().await;
        tokio::task::yield_now().await;
        drop(first_in_line);
    }
}

#[derive(Clone)]
pub struct Epoch(Arc<Shared>);

struct Shared {
    turns: Arc<Turns>,
    /// Odd while plugin code runs: raised on entry and on exit.
    entries: AtomicU64,
    asleep: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

impl Epoch {
    pub fn start(engine: &Engine, turns: Arc<Turns>) -> Result<Epoch> {
        let shared = Arc::new(Shared {
            turns,
            entries: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            thread: std::sync::OnceLock::new(),
        });
        let (engine, theirs) = (engine.weak(), shared.clone());
        // A thread on its way up makes system calls that are forbidden once the worker is sealed.
        let up = Arc::new(Barrier::new(2));
        let its_up = up.clone();
        let thread = thread::Builder::new()
            .name("epoch".into())
            .stack_size(64 << 10)
            .spawn(move || {
                its_up.wait();
                while let Some(engine) = engine.upgrade() {
                    theirs.tick_until_quiet(&engine);
                    drop(engine);
                    theirs.sleep();
                }
            })
            .context("start the epoch thread")?;
        up.wait();
        shared.thread.set(thread.thread().clone()).expect("set once");
        Ok(Epoch(shared))
    }

    /// Runs plugin code.
    pub async fn in_turn<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|cx| {
            let _turn = self.enter();
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Held while plugin code runs on this thread.
    pub fn enter(&self) -> Turn<'_> {
        self.0.entries.fetch_add(1, SeqCst);
        self.0.turns.resumed.store(self.0.turns.ticks.load(Relaxed), Relaxed);
        if self.0.asleep.load(SeqCst) {
            self.0.wake();
        }
        Turn(&self.0)
    }
}

pub struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.entries.fetch_add(1, Relaxed);
    }
}

impl Shared {
    fn tick_until_quiet(&self, engine: &Engine) {
        let (mut quiet, mut seen) = (0, self.entries.load(Relaxed));
        while quiet < QUIET_TICKS {
            thread::sleep(TICK);
            self.turns.ticks.fetch_add(1, Relaxed);
            engine.increment_epoch();
            let entries = self.entries.load(Relaxed);
            let ran = entries != seen || entries % 2 == 1;
            quiet = if ran { 0 } else { quiet + 1 };
            seen = entries;
        }
    }

    /// Announces the sleep before it looks for plugin code once more: `enter` counts before it
    /// looks for the announcement, so one of the two sees the other.
    fn sleep(&self) {
        let before = self.entries.load(SeqCst);
        self.asleep.store(true, SeqCst);
        while self.asleep.load(SeqCst) {
            if self.entries.load(SeqCst) != before || before % 2 == 1 {
                self.asleep.store(false, SeqCst);
                return;
            }
            thread::park();
        }
    }

    #[cold]
    fn wake(&self) {
        self.asleep.store(false, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
