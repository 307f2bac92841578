//! The event loop of a primary program.

use std::time::{Duration, Instant};

use wasip2::{
    clocks::monotonic_clock,
    io::poll::{Pollable, poll},
};

use super::{Happening, Key, try_accept};
use crate::{bindings::imports::host::cluster::primary as raw, ipc::nanos, tcp::Connection};

/// An event loop over the cluster's events, with a value of the program's own that every function gets.
///
/// [`run`](Self::run) returns when the host stops and all workers have ended.
pub struct Cluster<S = ()> {
    state: S,
    listeners: Vec<Listener<S>>,
    scheduler: Option<Scheduler<S>>,
    timers: Vec<Timer<S>>,
    stop: Option<Stop<S>>,
}

type Listener<S> = Box<dyn FnMut(&mut S, &Happening)>;
type Scheduler<S> = Box<dyn FnMut(&mut S, Connection)>;
type Stop<S> = Box<dyn Fn(&S) -> bool>;

struct Timer<S> {
    due: Instant,
    /// None for a timer that goes off once.
    every: Option<Duration>,
    act: Box<dyn FnMut(&mut S)>,
}

impl<S> Cluster<S> {
    /// A loop that does nothing yet.
    pub fn new(state: S) -> Self {
        Self { state, listeners: Vec::new(), scheduler: None, timers: Vec::new(), stop: None }
    }

    /// Calls a function for every event of this kind. Several for one kind are called in the order they were added.
    #[must_use]
    pub fn on<T: 'static>(
        mut self,
        event: Key<T>,
        mut act: impl FnMut(&mut S, &T) + 'static,
    ) -> Self {
        self.listeners.push(Box::new(move |state, happening| {
            if let Some(data) = (event.0)(happening) {
                act(state, data);
            }
        }));
        self
    }

    /// Calls a function for every connection of a client, to give it to a worker with
    /// [`hand_over`](super::hand_over). Needs `--balance program`.
    #[must_use]
    pub fn on_connection(mut self, act: impl FnMut(&mut S, Connection) + 'static) -> Self {
        self.scheduler = Some(Box::new(act));
        self
    }

    /// Calls a function again and again.
    #[must_use]
    pub fn every(self, period: Duration, act: impl FnMut(&mut S) + 'static) -> Self {
        self.timer(period, Some(period), act)
    }

    /// Calls a function once, this long after now.
    #[must_use]
    pub fn after(self, delay: Duration, act: impl FnMut(&mut S) + 'static) -> Self {
        self.timer(delay, None, act)
    }

    /// Ends the loop as soon as this is true.
    #[must_use]
    pub fn until(mut self, done: impl Fn(&S) -> bool + 'static) -> Self {
        self.stop = Some(Box::new(done));
        self
    }

    fn timer(
        mut self,
        delay: Duration,
        every: Option<Duration>,
        act: impl FnMut(&mut S) + 'static,
    ) -> Self {
        self.timers.push(Timer { due: Instant::now() + delay, every, act: Box::new(act) });
        self
    }

    /// Runs the loop, and gives the program's value back when it ends.
    pub fn run(mut self) -> S {
        let events = raw::subscribe();
        let connections = self.scheduler.is_some().then(raw::subscribe_accept);
        let (mut round, mut flood) = (0u8, true);
        while !self.is_done() {
            // What was waited for is mostly the only event, and a look for more then in vain.
            if flood || connections.is_some() || round.is_multiple_of(8) {
                let Some(count) = self.deliver_events() else { break };
                flood = count > 0;
                if self.is_done() {
                    break;
                }
            }
            round = round.wrapping_add(1);
            self.deliver_connections();
            let left = self.fire_timers();
            if self.is_done() {
                break;
            }
            match &connections {
                Some(connections) => wait_for_either(&events, connections, left),
                None if self.wait_for_event(left) => {}
                None => break,
            }
        }
        self.state
    }

    /// False when there will be no more events.
    fn wait_for_event(&mut self, left: Option<Duration>) -> bool {
        match raw::blocking_next_event(left.map(nanos)) {
            Ok(event) => {
                self.deliver(event);
                true
            }
            Err(raw::EventError::WouldBlock) => true,
            Err(raw::EventError::Closed) => false,
        }
    }

    fn deliver(&mut self, event: raw::Event) {
        let happening = Happening::from(event);
        for listener in &mut self.listeners {
            listener(&mut self.state, &happening);
        }
    }

    fn is_done(&self) -> bool {
        self.stop.as_ref().is_some_and(|done| done(&self.state))
    }

    /// How many there were; none when there will be no more. Timers get their turn even in a flood.
    fn deliver_events(&mut self) -> Option<u32> {
        const TURN: u32 = 256;
        for count in 0..TURN {
            match raw::next_event() {
                Ok(event) => self.deliver(event),
                Err(raw::EventError::WouldBlock) => return Some(count),
                Err(raw::EventError::Closed) => return None,
            }
        }
        Some(TURN)
    }

    fn deliver_connections(&mut self) {
        let Some(scheduler) = &mut self.scheduler else {
            return;
        };
        for _ in 0..256 {
            match try_accept() {
                Ok(Some(connection)) => scheduler(&mut self.state, connection),
                Ok(None) => return,
                Err(error) => {
                    eprintln!("accept: {error:?}");
                    self.scheduler = None;
                    return;
                }
            }
        }
    }

    /// How long until the next is due. Asking for the time is a call of the host: once, unless one goes off.
    fn fire_timers(&mut self) -> Option<Duration> {
        if self.timers.is_empty() {
            return None;
        }
        let mut now = Instant::now();
        if self.timers.iter().any(|timer| timer.due <= now) {
            for timer in &mut self.timers {
                if timer.due <= now {
                    (timer.act)(&mut self.state);
                    // What was missed is not made up for.
                    timer.due = timer.every.map_or(now, |period| (timer.due + period).max(now));
                }
            }
            self.timers.retain(|timer| timer.every.is_some() || timer.due > now);
            now = Instant::now();
        }
        let due = self.timers.iter().map(|timer| timer.due).min()?;
        Some(due.saturating_duration_since(now))
    }
}

fn wait_for_either(events: &Pollable, connections: &Pollable, left: Option<Duration>) {
    let alarm = left.map(|left| monotonic_clock::subscribe_duration(nanos(left)));
    let pollables: Vec<&Pollable> =
        [Some(events), Some(connections), alarm.as_ref()].into_iter().flatten().collect();
    poll(&pollables);
}

/// Waits for the next event; none when there will be no more. For programs that would rather not use [`Cluster`].
pub fn next() -> Option<Happening> {
    loop {
        match raw::blocking_next_event(None) {
            Ok(event) => return Some(event.into()),
            Err(raw::EventError::WouldBlock) => {}
            Err(raw::EventError::Closed) => return None,
        }
    }
}

/// The next event if one has happened.
pub fn try_next() -> Option<Happening> {
    raw::next_event().ok().map(Happening::from)
}
