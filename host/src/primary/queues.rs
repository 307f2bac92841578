//! The event loop of the primary: what it hears of, in which order.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;

use super::accepted::Accepted;
use super::fleet::Fleet;
use super::service::Service;
use super::signals::Wish;
use super::{Event, PoolId, control, handover};

/// What clients of the control socket have been told may take this long to leave.
pub const LAST_ANSWERS: Duration = Duration::from_millis(2);

/// What the event loop hears of besides signals, the most urgent first.
pub struct Queues {
    pub happened: mpsc::UnboundedReceiver<(PoolId, Event)>,
    pub heir: mpsc::UnboundedReceiver<handover::Progress>,
    pub arrivals: mpsc::Receiver<(PoolId, Accepted)>,
    pub wanted: mpsc::Receiver<control::Wanted>,
}

impl Queues {
    pub async fn follow(
        &mut self,
        wishes: &mut mpsc::UnboundedReceiver<Wish>,
        fleet: &mut Fleet,
    ) -> Result<()> {
        let mut service = Service::new();
        let mut heartbeat = service.heartbeat();
        while !fleet.is_stopped() {
            tokio::select! {
                biased;
                Some(wish) = wishes.recv() => {
                    self.pass_on_arrivals(fleet);
                    fleet.fulfil(wish);
                }
                Some((pool, event)) = self.happened.recv() => fleet.react(pool, event)?,
                Some(progress) = self.heir.recv() => fleet.heir_progress(progress),
                Some((pool, connection)) = self.arrivals.recv() => fleet.dispatch(pool, connection),
                Some(wanted) = self.wanted.recv() => {
                    self.pass_on_arrivals(fleet);
                    fleet.obey(wanted);
                }
                _ = next(&mut heartbeat) => service.beat(),
                // Nothing tells when the last connection has left for a successor.
                _ = tokio::time::sleep(LAST_ANSWERS), if fleet.only_hands_over() => {}
            }
            fleet.tell_predecessor()?;
            service.follow(fleet);
        }
        Ok(())
    }

    /// Before workers are told to drain: one that has nothing to do may be gone before a connection
    /// that was on its way to it.
    fn pass_on_arrivals(&mut self, fleet: &mut Fleet) {
        while let Ok((pool, connection)) = self.arrivals.try_recv() {
            fleet.dispatch(pool, connection);
        }
    }
}

async fn next(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
