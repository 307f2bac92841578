//! Which worker gets a connection: pure functions over what the primary knows of each worker.

use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Result, bail};

use super::WorkerId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Fewest open connections; ties in turn, and first to those whose turn went by while they were busy.
    LeastConnections,
    /// Each in turn.
    RoundRobin,
    /// The same client address finds the same worker for as long as that worker lives.
    IpHash,
    /// Every worker accepts from the one listener.
    Shared,
    /// Every worker accepts from a listener of its own on the same port; the kernel spreads.
    ReusePort,
    /// The primary program hands connections out.
    Program,
}

impl Policy {
    /// Whether the workers accept themselves, so that nothing is picked here.
    pub fn workers_accept(self) -> bool {
        matches!(self, Policy::Shared | Policy::ReusePort)
    }
}

impl FromStr for Policy {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Policy> {
        Ok(match text {
            "least-connections" => Policy::LeastConnections,
            "round-robin" => Policy::RoundRobin,
            "ip-hash" => Policy::IpHash,
            "shared" => Policy::Shared,
            "reuseport" => Policy::ReusePort,
            "program" => Policy::Program,
            _ => bail!(
                "--balance {text}: choose least-connections, round-robin, ip-hash, shared, reuseport or program"
            ),
        })
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Policy::LeastConnections => "least-connections",
            Policy::RoundRobin => "round-robin",
            Policy::IpHash => "ip-hash",
            Policy::Shared => "shared",
            Policy::ReusePort => "reuseport",
            Policy::Program => "program",
        })
    }
}

/// A worker that can take a connection now, and how many it has. Sorted by `worker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub worker: WorkerId,
    pub connections: u64,
    /// How many it has been given; see `turns_after`.
    pub turns: u64,
}

/// How many turns a worker may be behind the others. One that kept a connection for an hour is then not
/// given all the next ones to make up for it.
const BEHIND: u64 = 64;

/// What to count for a worker that is given one more, where `most` is the most of any.
pub fn turns_after(turns: u64, most: u64) -> u64 {
    turns.max(most.saturating_sub(BEHIND)) + 1
}

/// The worker for the next connection; `last` is who got the one before.
pub fn pick(
    policy: Policy,
    loads: &[Load],
    last: Option<WorkerId>,
    peer: Option<IpAddr>,
) -> Option<WorkerId> {
    match policy {
        Policy::IpHash if peer.is_some() => by_hash(loads, peer?),
        Policy::LeastConnections => {
            let weight = |load: &Load| (load.connections, load.turns);
            let least = loads.iter().map(weight).min()?;
            let least: Vec<Load> =
                loads.iter().copied().filter(|load| weight(load) == least).collect();
            next(&least, last)
        }
        _ => next(loads, last),
    }
}

/// The first worker after `last`, going round.
fn next(loads: &[Load], last: Option<WorkerId>) -> Option<WorkerId> {
    let after = loads.partition_point(|load| last.is_some_and(|last| load.worker <= last));
    loads.get(after).or(loads.first()).map(|load| load.worker)
}

/// Rendezvous hashing: a worker that comes or goes moves only its own clients.
fn by_hash(loads: &[Load], peer: IpAddr) -> Option<WorkerId> {
    let weight = |load: &&Load| {
        let mut hash = Fnv::new();
        match peer {
            IpAddr::V4(v4) => hash.add(&v4.octets()),
            IpAddr::V6(v6) => hash.add(&v6.octets()),
        }
        hash.add(&load.worker.0.to_le_bytes());
        hash.finish()
    };
    loads.iter().max_by_key(weight).map(|load| load.worker)
}

/// FNV-1a with a final mix: the same in every build, unlike the standard library's hasher.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(self) -> u64 {
        let mut mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn loads() -> impl Strategy<Value = Vec<Load>> {
        proptest::collection::btree_map(1u32..500, (0u64..50, 0u64..50), 1..16).prop_map(|map| {
            let load =
                |(id, (connections, turns))| Load { worker: WorkerId(id), connections, turns };
            map.into_iter().map(load).collect()
        })
    }

    fn peer() -> impl Strategy<Value = Option<IpAddr>> {
        proptest::option::of(any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())))
    }

    proptest! {
        #[test]
        fn a_pick_is_always_one_of_the_workers(loads in loads(), last in 0u32..600, peer in peer()) {
            for policy in [Policy::LeastConnections, Policy::RoundRobin, Policy::IpHash] {
                let picked = pick(policy, &loads, Some(WorkerId(last)), peer).unwrap();
                prop_assert!(loads.iter().any(|load| load.worker == picked));
            }
        }

        #[test]
        fn least_connections_never_picks_a_busier_worker(loads in loads(), last in 0u32..600) {
            let picked = pick(Policy::LeastConnections, &loads, Some(WorkerId(last)), None).unwrap();
            let of = |id| loads.iter().find(|load| load.worker == id).unwrap().connections;
            prop_assert!(loads.iter().all(|load| of(picked) <= load.connections));
        }

        #[test]
        fn round_robin_visits_every_worker_once_a_round(loads in loads()) {
            let mut seen = HashMap::new();
            let mut last = None;
            for _ in 0..loads.len() * 3 {
                last = pick(Policy::RoundRobin, &loads, last, None);
                *seen.entry(last.unwrap()).or_insert(0) += 1;
            }
            prop_assert!(seen.values().all(|n| *n == 3) && seen.len() == loads.len());
        }

        #[test]
        fn connections_that_stay_open_spread_evenly(mut loads in loads()) {
            loads.iter_mut().for_each(|load| load.connections = 0);
            let mut last = None;
            for _ in 0..loads.len() * 10 {
                last = pick(Policy::LeastConnections, &loads, last, None);
                loads.iter_mut().find(|load| Some(load.worker) == last).unwrap().connections += 1;
            }
            prop_assert!(loads.iter().all(|load| load.connections == 10));
        }

        #[test]
        fn ip_hash_moves_only_the_clients_of_a_worker_that_left(loads in loads(), peer in any::<u32>()) {
            let peer = Some(IpAddr::from(peer.to_be_bytes()));
            let before = pick(Policy::IpHash, &loads, None, peer).unwrap();
            for gone in &loads {
                let rest: Vec<Load> = loads.iter().copied().filter(|l| l.worker != gone.worker).collect();
                if gone.worker != before {
                    prop_assert_eq!(pick(Policy::IpHash, &rest, None, peer), Some(before));
                }
            }
        }
    }

    fn idle(workers: u32) -> Vec<Load> {
        (1..=workers).map(|id| Load { worker: WorkerId(id), connections: 0, turns: 0 }).collect()
    }

    /// Short connections, of which none is open when the next one comes; how many each worker got.
    fn short_ones(loads: &mut [Load], count: u64) -> Vec<u64> {
        let before: Vec<u64> = loads.iter().map(|load| load.turns).collect();
        let mut last = None;
        for _ in 0..count {
            last = pick(Policy::LeastConnections, loads, last, None);
            let most = loads.iter().map(|load| load.turns).max().unwrap();
            let picked = loads.iter_mut().find(|load| Some(load.worker) == last).unwrap();
            picked.turns = turns_after(picked.turns, most);
        }
        loads.iter().zip(before).map(|(load, before)| load.turns - before).collect()
    }

    #[test]
    fn short_connections_take_turns_and_make_up_for_those_that_went_by() {
        let mut loads = idle(4);
        assert_eq!(short_ones(&mut loads, 40), [10; 4]);
        loads[1].connections = 1;
        assert_eq!(short_ones(&mut loads, 30), [10, 0, 10, 10]);
        loads[1].connections = 0;
        assert_eq!(short_ones(&mut loads, 10), [0, 10, 0, 0]);
        assert_eq!(short_ones(&mut loads, 40), [10; 4]);
    }

    #[test]
    fn who_was_busy_for_long_makes_up_for_a_part_of_it() {
        let mut loads = idle(2);
        loads[1].connections = 1;
        short_ones(&mut loads, 1_000_000);
        loads[1].connections = 0;
        short_ones(&mut loads, BEHIND);
        assert_eq!(short_ones(&mut loads, 100), [50; 2]);
    }

    #[test]
    fn ip_hash_uses_every_worker() {
        let loads = idle(8);
        let mut seen = HashMap::new();
        for bits in 0..8000u32 {
            let peer = Some(IpAddr::from((0x0a00_0000 + bits).to_be_bytes()));
            *seen.entry(pick(Policy::IpHash, &loads, None, peer).unwrap()).or_insert(0) += 1;
        }
        assert!(seen.len() == 8 && seen.values().all(|n| (700..1300).contains(n)), "{seen:?}");
    }

    #[test]
    fn nobody_to_pick_is_nobody() {
        assert_eq!(pick(Policy::LeastConnections, &[], None, None), None);
    }
}
