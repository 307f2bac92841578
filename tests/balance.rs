//! Which worker gets a connection. The workers' prefix before the plugin's output tells who it was.

use crate::support::{Connection, Server, wait_for};
use std::collections::BTreeMap;

struct Pool(Server);

impl Pool {
    fn start(policy: &str, workers: &str) -> Pool {
        Pool(Server::serving("fixture", &["--balance", policy, "--workers", workers]))
    }

    /// The worker that serves this connection.
    fn worker_of(&self, connection: &mut Connection, tag: &str) -> u32 {
        let tag = format!("{tag}.");
        assert_eq!(connection.get(&format!("/stdout?text={tag}")).status(), 200);
        let line = self.0.wait_output(&tag);
        let id = line.strip_prefix("[worker ").and_then(|rest| rest.split(']').next());
        id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no worker in {line:?}"))
    }

    /// Opens connections that stay open and tells who serves each.
    fn open(&self, count: usize, tag: &str) -> Vec<(u32, Connection)> {
        let open = |number| {
            let mut connection = self.0.connect();
            (self.worker_of(&mut connection, &format!("{tag}-{number}")), connection)
        };
        (0..count).map(open).collect()
    }
}

fn spread<T>(served: &[(u32, T)]) -> BTreeMap<u32, usize> {
    let mut spread = BTreeMap::new();
    served.iter().for_each(|(worker, _)| *spread.entry(*worker).or_default() += 1);
    spread
}

#[test]
fn least_connections_evens_out_what_is_open() {
    let pool = Pool::start("least-connections", "4");
    let mut open = pool.open(16, "first");
    assert_eq!(spread(&open), BTreeMap::from([(1, 4), (2, 4), (3, 4), (4, 4)]));
    // Whoever has lost connections gets the next ones.
    open.retain(|(worker, _)| *worker != 3);
    let mut round = 0;
    wait_for("the freed worker to be chosen", || {
        round += 1;
        let next = pool.open(4, &format!("round-{round}"));
        (spread(&next) == BTreeMap::from([(3, 4)])).then_some(())
    });
    pool.0.finish();
}

#[test]
fn least_connections_takes_turns_when_nothing_is_open() {
    let pool = Pool::start("least-connections", "3");
    let mut served = Vec::new();
    for number in 0..30 {
        let mut connection = pool.0.connect();
        served.push((pool.worker_of(&mut connection, &format!("turn-{number}")), ()));
    }
    let spread = spread(&served);
    // A worker tells of an end a little later than the client knows it, so turns can be skipped.
    assert!(spread.len() == 3 && spread.values().all(|count| *count >= 5), "{spread:?}");
    pool.0.finish();
}

#[test]
fn round_robin_goes_round_whatever_is_open() {
    let pool = Pool::start("round-robin", "3");
    let mut open = pool.open(9, "first");
    let turns: Vec<u32> = open.iter().map(|(worker, _)| *worker).collect();
    let start = turns[0] - 1;
    let expected: Vec<u32> = (0..9).map(|turn| (start + turn) % 3 + 1).collect();
    assert_eq!(turns, expected);
    open.retain(|(worker, _)| *worker == 1);
    assert_eq!(spread(&pool.open(6, "second")), BTreeMap::from([(1, 2), (2, 2), (3, 2)]));
    pool.0.finish();
}

#[test]
fn ip_hash_keeps_a_client_with_its_worker() {
    let pool = Pool::start("ip-hash", "4");
    let open = pool.open(12, "client");
    assert_eq!(spread(&open).len(), 1, "{:?}", spread(&open));
    pool.0.finish();
}

#[test]
fn shared_and_reuseport_let_the_kernel_choose_and_lose_nobody() {
    for policy in ["shared", "reuseport"] {
        let pool = Pool::start(policy, "3");
        let open = pool.open(60, policy);
        let spread = spread(&open);
        assert_eq!(spread.values().sum::<usize>(), 60);
        if policy == "reuseport" {
            assert_eq!(spread.len(), 3, "the kernel hashes over every socket: {spread:?}");
        }
        pool.0.finish();
    }
}

#[test]
fn short_connections_spread_evenly_over_eight_workers() {
    for policy in ["least-connections", "round-robin"] {
        let pool = Pool::start(policy, "8");
        let served = 800;
        for _ in 0..served {
            assert_eq!(pool.0.get("/stdout?text=short").status(), 200);
        }
        wait_for("all lines", || (pool.0.stdout.count("short") == served).then_some(()));
        let counts: Vec<usize> =
            (1..=8).map(|id| pool.0.stdout.count(&format!("[worker {id}] short"))).collect();
        let busiest = *counts.iter().max().unwrap() as f64;
        let mean = served as f64 / 8.0;
        // The few turns that are skipped matter less the longer it goes on; bench/ has the long run.
        assert!(busiest / mean <= 1.1, "{policy}: {counts:?}");
        pool.0.finish();
    }
}
