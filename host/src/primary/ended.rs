//! The end of a worker: what is left of it, and who comes in its place.

use std::time::Duration;

use anyhow::{Result, bail};

use super::child::End;
use super::news::What;
use super::pool::{Phase, Pool};
use super::status;
use super::workers::State;
use super::{Event, WorkerId};

impl Pool {
    pub fn exited(&mut self, id: WorkerId, end: End) -> Result<()> {
        let Some(mut worker) = self.workers.remove(&id) else { return Ok(()) };
        self.leave_children(&mut worker, end);
        self.links.news.tell(What::exit(id, end));
        self.tell_exit(&worker, end);
        self.tally.ended.add(&status::counters(&worker.scoreboard));
        if worker.blames_artifact {
            self.links.compiler.discard(&worker.generation.artifact);
        }
        let forked = self.seats.get(worker.seat).is_some_and(|seat| seat.forked);
        let orphans = worker.reclaim();
        let lived = worker.started.elapsed();
        let why = match worker.failure.take() {
            Some(failure) if worker.state == State::Starting => failure,
            _ => worker.describe(end),
        };
        if self.phase == Phase::Starting && !forked {
            let seat = self.seats.get(worker.seat);
            let incoming = seat.is_some_and(|seat| seat.incoming == Some(id));
            if !incoming {
                return Ok(());
            }
            if worker.blames_artifact && worker.generation.artifact.from_cache {
                self.recompile();
                return Ok(());
            }
            bail!("start {}: worker {id}: {why}", worker.generation.name);
        }
        let (seated, incoming) = self.leave_seat(worker.seat, id);
        if self.phase == Phase::Serving {
            match incoming && self.reloads.holds(worker.generation.number) {
                true => self.reload_failed(&format!("worker {id}: {why}")),
                false if (seated || incoming) && (forked || worker.told) => {
                    // Nobody wants it back.
                    self.seats[worker.seat].forked = true;
                    self.share_out();
                    self.log(&format!("worker {id} {why}"));
                }
                false if seated || incoming => {
                    if incoming {
                        self.operation_failed(worker.seat, &format!("worker {id}: {why}"));
                        self.rest_from_recycling();
                    }
                    self.replace(worker.seat, id, &why, lived);
                }
                false => {}
            }
        }
        orphans.into_iter().for_each(|connection| self.dispatch(connection));
        self.stop_if_abandoned();
        self.close_program();
        self.refuse_if_alone();
        self.pass_on_waiting();
        self.roll_on();
        Ok(())
    }

    /// Whether it served there, and whether it was to.
    fn leave_seat(&mut self, seat: usize, id: WorkerId) -> (bool, bool) {
        let Some(seat) = self.seats.get_mut(seat) else { return (false, false) };
        let (seated, incoming) = (seat.worker == Some(id), seat.incoming == Some(id));
        if seated {
            seat.worker = None;
            if let Some(task) = seat.own_port.take() {
                task.abort();
            }
        }
        if incoming {
            seat.incoming = None;
        }
        (seated, incoming)
    }

    fn replace(&mut self, seat: usize, id: WorkerId, why: &str, lived: Duration) {
        self.seats[seat].restarts += 1;
        self.tally.restarts += 1;
        let backoff = &mut self.seats[seat].backoff;
        let wait = backoff.died(lived);
        let looping = backoff.crash_looping();
        let deaths = backoff.early_deaths();
        if looping {
            self.links.news.tell(What::CrashLoop { worker: id, deaths });
        }
        let note = if looping { " (crash loop)" } else { "" };
        let when = if wait.is_zero() { "now".to_owned() } else { format!("in {wait:?}") };
        self.log(&format!("worker {id} {why}; restarting it {when}{note}"));
        if self.roll_back_if_on_probation(seat) {
            return;
        }
        if wait.is_zero() {
            return self.respawn(seat);
        }
        let events = self.links.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let _ = events.send(Event::Respawn(seat));
        });
    }

    /// Starts a worker for an empty seat, unless one is on its way.
    pub fn respawn(&mut self, seat: usize) {
        let Some(place) = self.seats.get(seat) else { return };
        let taken = place.forked || place.worker.is_some() || place.incoming.is_some();
        if self.phase != Phase::Serving || taken {
            return;
        }
        let current = self.current.clone();
        if let Err(error) = self.start_worker(seat, &current) {
            self.log(&format!("{error:#}"));
            let events = self.links.events.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let _ = events.send(Event::Respawn(seat));
            });
        }
    }
}
