//! `setup` of the primary program: what the workers to come run with. A plugin is loaded before the
//! program hears that all is well, so that its next `fork` has something to start.

use std::rc::Rc;

use anyhow::Result;

use super::Event;
use super::generation::Generation;
use super::pool::Pool;
use crate::config::PoolConfig;
use crate::ipc::cluster::{Answer, Changes, Refusal, ToProgram};

/// A `setup` whose plugin is being loaded.
pub struct SettingUp {
    pub ticket: u64,
    changes: Changes,
    /// The generation whose configuration it is loaded with.
    beside: u64,
}

/// A program waits for the answer before it asks again; who does not is hostile.
const MAX_POSTPONED: usize = 8;

impl Pool {
    /// Answers when the plugin is loaded; a name that was set before means its file as it is now.
    pub fn set_up(&mut self, ticket: u64, changes: Changes) {
        let Some(name) = &changes.plugin else {
            return self.apply(ticket, changes, None);
        };
        let config = self.current.config();
        let Some(path) = config.choices.iter().find(|(known, _)| known == name) else {
            return self.refuse_setup(ticket, Refusal::UnknownPlugin);
        };
        let path = path.1.clone();
        let Some(program) = &mut self.program else { return };
        if program.setting_up || program.postponed.len() >= MAX_POSTPONED {
            return self.refuse_setup(ticket, Refusal::Busy);
        }
        if self.reloads.is_active() {
            // What it is to be loaded with may be about to change.
            return program.postponed.push((ticket, changes));
        }
        program.setting_up = true;
        let what = SettingUp { ticket, changes, beside: self.current.number };
        let (compiler, events) = (self.links.compiler.clone(), self.links.events.clone());
        let beside = self.current.clone();
        tokio::task::spawn_local(async move {
            let loaded = beside.with_plugin(&compiler, path).await;
            let _ = events.send(Event::SetUp(what, loaded));
        });
    }

    pub fn has_set_up(&mut self, what: SettingUp, loaded: Result<Generation>) {
        let Some(program) = &mut self.program else { return };
        program.setting_up = false;
        if what.beside != self.current.number || self.reloads.is_active() {
            return self.set_up(what.ticket, what.changes);
        }
        match loaded {
            Ok(mut generation) => {
                generation.number = self.reloads.next_number(what.beside);
                self.apply(what.ticket, what.changes, Some(Rc::new(generation)));
            }
            Err(error) => {
                let why = format!("{error:#}");
                self.log(&format!("setup of the primary program: {why}"));
                self.refuse_setup(what.ticket, Refusal::Invalid(why));
            }
        }
    }

    /// Does what had to wait for a reload.
    pub fn set_up_later(&mut self) {
        let Some(program) = &mut self.program else { return };
        for (ticket, changes) in std::mem::take(&mut program.postponed) {
            self.set_up(ticket, changes);
        }
    }

    fn apply(&mut self, ticket: u64, changes: Changes, chosen: Option<Rc<Generation>>) {
        let Some(program) = &mut self.program else { return };
        let now = &mut program.changes;
        now.arguments = changes.arguments.or(now.arguments.take());
        now.silent = changes.silent.or(now.silent);
        if let Some(generation) = &chosen {
            let number = generation.number;
            self.links.output.log(&format!(
                "{} runs from now on what it forks as generation {number}: {}",
                program.name, generation.name
            ));
            program.chosen = chosen;
        }
        // When it hears that it is done, `settings` says so too.
        self.tell_settings();
        self.tell(ToProgram::Answer { ticket, answer: Answer::Done }, vec![]);
    }

    fn refuse_setup(&self, ticket: u64, why: Refusal) {
        self.tell(ToProgram::Answer { ticket, answer: Answer::No(why) }, vec![]);
    }

    pub fn tell_settings(&self) {
        self.tell(ToProgram::Changed(Box::new(self.cluster())), vec![]);
    }

    /// What the program's next `fork` runs.
    pub fn to_fork(&self) -> Rc<Generation> {
        let chosen = self.program.as_ref().and_then(|program| program.chosen.clone());
        chosen.unwrap_or_else(|| self.current.clone())
    }

    /// What the next generation runs with, if nobody says otherwise.
    pub fn next_config(&self) -> PoolConfig {
        self.to_fork().config().clone()
    }

    /// Where the program alone makes workers, its first of a newer generation makes that the current one.
    pub fn adopt(&mut self, generation: &Rc<Generation>) {
        if self.config.manual && generation.number > self.current.number {
            self.change_generation(generation.clone());
        }
    }

    /// Everything but the workers follows; what it was before is the result.
    pub fn change_generation(&mut self, new: Rc<Generation>) -> Rc<Generation> {
        let settings = self.cluster();
        let before = std::mem::replace(&mut self.current, new);
        self.config = self.current.config().clone();
        if let Some(program) = &mut self.program {
            let newer = |chosen: &Rc<Generation>| chosen.number > self.current.number;
            program.chosen = program.chosen.take().filter(newer);
        }
        if settings != self.cluster() {
            self.tell_settings();
        }
        self.config_changed();
        before
    }
}
