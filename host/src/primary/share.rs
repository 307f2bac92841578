//! `--max-requests-in-flight`: what all workers may answer together is shared out to them. Each counts
//! for itself within its share, so that none can use up or forge what is another's.

use super::pool::Pool;
use super::seat::Seat;
use crate::ipc::message::ToWorker;
use crate::worker::settings::Settings;

impl Pool {
    /// A new worker's settings say its part of the limit, not the whole.
    pub fn share(&self, seat: usize, settings: &mut Settings) {
        let total = settings.limits.max_requests_in_flight;
        settings.limits.max_requests_in_flight = self.share_of(seat, total);
    }

    /// Told to everyone who serves, when a seat has come or gone. Who drains keeps what it has.
    pub fn share_out(&self) {
        for (place, seat) in self.seats.iter().enumerate() {
            for id in [seat.worker, seat.incoming].into_iter().flatten() {
                let Some(worker) = self.workers.get(&id) else { continue };
                let total = worker.generation.config().limits.max_requests_in_flight;
                if total > 0 {
                    // If it cannot be told, its end is near.
                    let share = self.share_of(place, total);
                    let _ = worker.post(&ToWorker::MayAnswer(share), vec![]);
                }
            }
        }
    }

    fn share_of(&self, seat: usize, total: u32) -> u32 {
        let is_taken = |(place, other): &(usize, &Seat)| *place == seat || !other.is_left();
        let taken = || self.seats.iter().enumerate().filter(is_taken);
        let before = taken().take_while(|(place, _)| *place < seat).count();
        part(total, before, taken().count())
    }
}

/// Equal parts of the total, the first ones larger by one if it does not divide; never none.
fn part(total: u32, index: usize, parts: usize) -> u32 {
    let parts = parts.max(1) as u32;
    let extra = u32::from((index as u32) < total % parts);
    if total == 0 { 0 } else { (total / parts + extra).max(1) }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_add_up_to_the_total_unless_there_are_more_workers() {
        for parts in 1..=70 {
            for total in 1..=200 {
                let all: Vec<u32> = (0..parts).map(|index| part(total, index, parts)).collect();
                let sum: u32 = all.iter().sum();
                assert_eq!(sum, total.max(parts as u32), "{total} in {all:?}");
                assert!(all[0] - all[parts - 1] <= 1, "{all:?}");
            }
        }
        assert_eq!(part(0, 3, 4), 0, "no limit");
    }
}
