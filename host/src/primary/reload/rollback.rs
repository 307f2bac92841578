//! The ways back: to the generation before, and to an artifact compiled anew.

use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;

use super::Request;
use crate::primary::Event;
use crate::primary::generation::Generation;
use crate::primary::news::What;
use crate::primary::pool::Pool;

/// Early deaths in one seat that end a probation.
const DEATHS_ON_PROBATION: u32 = 3;

impl Pool {
    /// Half of a rolling reload is undone: the seats it took go to the old generation again.
    pub(super) fn take_back(&mut self, old: Rc<Generation>) {
        self.change_generation(old.clone());
        for seat in 0..self.seats.len() {
            let worker = self.seats[seat].worker.and_then(|id| self.workers.get(&id));
            if worker.is_some_and(|worker| worker.generation.number != old.number)
                && let Err(error) = self.start_worker(seat, &old)
            {
                self.log(&format!("{error:#}"));
            }
        }
    }

    /// A new generation whose workers keep dying is replaced by the one before it.
    pub fn roll_back_if_on_probation(&mut self, seat: usize) -> bool {
        let on_probation = |(_, until): &(Rc<Generation>, Instant)| Instant::now() < *until;
        if self.reloads.is_active()
            || self.seats[seat].backoff.early_deaths() < DEATHS_ON_PROBATION
            || !self.reloads.fallback.as_ref().is_some_and(on_probation)
        {
            return false;
        }
        let Some((old, _)) = self.reloads.fallback.take() else { return false };
        let bad = self.current.number;
        self.log(&format!(
            "generation {bad} crash-loops; rolling back to generation {}",
            old.number
        ));
        self.tally.reloads.rolled_back += 1;
        self.links.news.tell(What::RolledBack { from: bad, to: old.number });
        let number = self.begin(Request::default());
        let generation = old.again(number);
        let _ = self.links.events.send(Event::Compiled(number, generation));
        true
    }

    /// A cached artifact no worker can load is compiled anew, once.
    pub fn recompile(&mut self) {
        let number = self.current.number;
        self.links.compiler.discard(&self.current.artifact);
        self.log("the cached artifact cannot be loaded; compiling the plugin again");
        self.dismiss_incoming();
        let (compiler, events) = (self.links.compiler.clone(), self.links.events.clone());
        let config = self.current.config().clone();
        tokio::task::spawn_local(async move {
            let generation = Generation::load(&compiler, number, config).await;
            let _ = events.send(Event::Recompiled(generation));
        });
    }

    pub fn recompiled(&mut self, generation: Result<Generation>) -> Result<()> {
        let first = Rc::new(generation?);
        self.current = first.clone();
        let seats: Vec<usize> = (0..self.seats.len()).filter(|n| !self.seats[*n].forked).collect();
        seats.into_iter().try_for_each(|seat| self.start_worker(seat, &first))
    }
}
