//! A new generation beside the serving one: compile, start, check, switch, drain. Until the switch
//! nothing of the serving generation is touched, so every failure leaves it as it was.

mod rollback;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::generation::Generation;
use super::news::What;
use super::pool::{Phase, Pool};
use super::workers::State;
use super::{Event, WorkerId, health};
use crate::config::{PoolConfig, ReloadMode};

/// What somebody asked for.
#[derive(Default)]
pub struct Request {
    /// Another file than before.
    pub plugin: Option<PathBuf>,
    /// `wasi:config` values to add or change.
    pub set: Vec<(String, String)>,
    /// Everything anew, as a configuration file says; the two above come on top.
    pub config: Option<PoolConfig>,
    pub done: Option<oneshot::Sender<Result<String, String>>>,
}

impl Request {
    fn answer(self, result: Result<String, String>) {
        if let Some(done) = self.done {
            let _ = done.send(result);
        }
    }
}

#[derive(Default)]
pub struct Reloads {
    active: Option<Reload>,
    /// The last wins.
    queued: Option<Request>,
    /// What to go back to while the current generation is on probation.
    fallback: Option<(Rc<Generation>, Instant)>,
    used_numbers: u64,
}

struct Reload {
    number: u64,
    mode: ReloadMode,
    /// `None` until it is compiled.
    generation: Option<Rc<Generation>>,
    /// Seats still to be started, in a rolling reload.
    to_start: Vec<usize>,
    checked: Vec<WorkerId>,
    request: Request,
    started: Instant,
}

impl Reloads {
    /// Whether workers of this generation are being brought up by a reload.
    pub fn holds(&self, generation: u64) -> bool {
        self.active.as_ref().is_some_and(|reload| reload.number == generation)
    }

    /// One that no generation had.
    pub fn next_number(&mut self, current: u64) -> u64 {
        self.used_numbers = self.used_numbers.max(current) + 1;
        self.used_numbers
    }

    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    fn mode(&self) -> ReloadMode {
        self.active.as_ref().map_or(ReloadMode::Parallel, |reload| reload.mode)
    }
}

impl Pool {
    pub fn reload(&mut self, mut request: Request) {
        if self.phase != Phase::Serving {
            return request.answer(Err("not serving, so there is nothing to reload".into()));
        }
        if self.reloads.is_active() {
            self.log("reload queued behind the one in progress");
            if let Some(earlier) = self.reloads.queued.replace(request) {
                earlier.answer(Err("superseded by a later reload".into()));
            }
            return;
        }
        let mut config = request.config.take().unwrap_or_else(|| self.next_config());
        if let Some(plugin) = &request.plugin {
            config.serve(plugin.clone());
        }
        for (key, value) in &request.set {
            config.set.retain(|(known, _)| known != key);
            config.set.push((key.clone(), value.clone()));
        }
        let number = self.begin(request);
        let (compiler, events) = (self.links.compiler.clone(), self.links.events.clone());
        tokio::task::spawn_local(async move {
            let generation = Generation::load(&compiler, number, config).await;
            let _ = events.send(Event::Compiled(number, generation));
        });
    }

    fn begin(&mut self, request: Request) -> u64 {
        let number = self.reloads.next_number(self.current.number);
        self.log(&format!("reload: generation {number} starting"));
        self.links.news.tell(What::ReloadStarted { generation: number });
        self.reloads.active = Some(Reload {
            number,
            mode: self.config.reload,
            generation: None,
            to_start: Vec::new(),
            checked: Vec::new(),
            request,
            started: Instant::now(),
        });
        number
    }

    pub fn compiled(&mut self, number: u64, generation: Result<Generation>) {
        if self.phase != Phase::Serving || !self.reloads.holds(number) {
            return;
        }
        let generation = match generation {
            Ok(generation) => Rc::new(generation),
            Err(error) => return self.reload_failed(&format!("{error:#}")),
        };
        if let Err(error) = self.widen_resolver(generation.config()) {
            return self.reload_failed(&format!("{error:#}"));
        }
        self.dismiss_incoming();
        // A worker that is gone for good has no successor in the next generation either.
        let wanted = |seat: &usize| !self.seats[*seat].forked || self.seats[*seat].worker.is_some();
        let mut seats: Vec<usize> = (0..self.seats.len()).rev().filter(wanted).collect();
        let none = seats.is_empty();
        let at_once = match self.reloads.mode() {
            ReloadMode::Parallel => std::mem::take(&mut seats),
            ReloadMode::Rolling => seats.pop().into_iter().collect(),
        };
        if let Some(reload) = &mut self.reloads.active {
            reload.generation = Some(generation.clone());
            reload.to_start = seats;
        }
        for seat in at_once {
            if let Err(error) = self.start_worker(seat, &generation) {
                return self.reload_failed(&format!("{error:#}"));
            }
        }
        if none {
            self.switch_generation();
            self.reload_done();
        }
    }

    /// Ends workers that were to take a seat which others will take now.
    fn dismiss_incoming(&mut self) {
        for seat in &mut self.seats {
            let incoming = seat.incoming.take().and_then(|id| self.workers.get(&id));
            if let Some(worker) = incoming {
                worker.kill(Signal::SIGKILL);
            }
        }
    }

    pub fn reload_member_ready(&mut self, id: WorkerId) -> Result<()> {
        let Some(path) = self.config.health_path.clone() else {
            return self.healthy(id, Ok(()));
        };
        let asked = self.workers[&id].ask_health(&path);
        let (events, timeout) = (self.links.events.clone(), self.config.ready_timeout);
        tokio::task::spawn_local(async move {
            let health = match asked {
                Ok(answer) => health::check(answer, timeout).await,
                Err(error) => Err(error),
            };
            let _ = events.send(Event::Healthy(id, health));
        });
        Ok(())
    }

    /// A worker of the new generation is as good as it says, or not.
    pub fn healthy(&mut self, id: WorkerId, health: Result<()>) -> Result<()> {
        let Some(worker) = self.workers.get(&id) else { return Ok(()) };
        let (seat, number) = (worker.seat, worker.generation.number);
        if worker.state != State::Ready || !self.reloads.holds(number) {
            return Ok(());
        }
        if let Err(error) = health {
            self.reload_failed(&format!("worker {id}: {error:#}"));
            return Ok(());
        }
        match self.reloads.mode() {
            ReloadMode::Parallel => self.parallel_step(id),
            ReloadMode::Rolling => {
                self.switch_generation();
                self.take_seat(seat)?;
                self.roll_on();
                Ok(())
            }
        }
    }

    fn parallel_step(&mut self, id: WorkerId) -> Result<()> {
        let Some(reload) = &mut self.reloads.active else { return Ok(()) };
        let new = |id: &WorkerId| {
            self.workers.get(id).is_some_and(|worker| worker.generation.number == reload.number)
        };
        let all = self.seats.iter().filter(|seat| seat.incoming.as_ref().is_some_and(new)).count();
        reload.checked.push(id);
        if reload.checked.len() < all {
            return Ok(());
        }
        self.switch_generation();
        (0..self.seats.len()).try_for_each(|seat| self.take_seat(seat))?;
        self.reload_done();
        Ok(())
    }

    /// The next seat's turn in a rolling reload comes when the worker that gave up the one before has
    /// ended: there is never more than one worker too many.
    pub fn roll_on(&mut self) {
        let Some(reload) = &mut self.reloads.active else { return };
        let begun = self.current.number == reload.number;
        if !begun || reload.mode != ReloadMode::Rolling {
            return;
        }
        let starting = self.seats.iter().any(|seat| seat.incoming.is_some());
        let ending = self.workers.values().any(|worker| worker.state == State::Draining);
        if reload.to_start.is_empty() && !starting {
            return self.reload_done();
        }
        if starting || ending {
            return;
        }
        let Some(seat) = reload.to_start.pop() else { return };
        let generation = self.current.clone();
        if let Err(error) = self.start_worker(seat, &generation) {
            self.reload_failed(&format!("{error:#}"));
        }
    }

    /// From now on the dead are replaced by workers of the new generation.
    fn switch_generation(&mut self) {
        let new = self.reloads.active.as_ref().and_then(|reload| reload.generation.clone());
        if let Some(new) = new.filter(|new| new.number != self.current.number) {
            let old = self.change_generation(new);
            self.reloads.fallback = Some((old, Instant::now() + self.config.probation));
            self.seats.iter_mut().for_each(|seat| seat.backoff = Default::default());
        }
    }

    fn reload_done(&mut self) {
        self.announce();
        self.pass_on_waiting();
        if let Some(reload) = self.reloads.active.take() {
            let took = reload.started.elapsed().as_millis();
            let number = reload.number;
            self.tally.reloads.done += 1;
            self.links.news.tell(What::ReloadDone { generation: number, ms: took as u64 });
            reload.request.answer(Ok(format!("generation {number} serving after {took} ms")));
        }
        self.next_reload();
    }

    fn next_reload(&mut self) {
        match self.reloads.queued.take() {
            Some(request) => self.reload(request),
            None => self.operate_later(),
        }
    }

    /// Everything goes on as before the reload.
    pub fn reload_failed(&mut self, why: &str) {
        let Some(reload) = self.reloads.active.take() else { return };
        self.dismiss_incoming();
        if self.current.number == reload.number
            && let Some((old, _)) = self.reloads.fallback.take()
        {
            self.take_back(old);
        }
        let serving = self.current.number;
        let generation = reload.number;
        self.tally.reloads.failed += 1;
        self.links.news.tell(What::ReloadFailed { generation, why: why.to_owned() });
        self.log(&format!("reload: {why}; generation {serving} keeps serving"));
        (0..self.seats.len()).for_each(|seat| self.respawn(seat));
        reload.request.answer(Err(why.to_owned()));
        self.next_reload();
    }
}
