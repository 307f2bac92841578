//! What travels over the control socket: one JSON value a line, both ways, with a version in each.
//! The primary believes nothing of what comes in beyond its own checks of it.

use serde::{Deserialize, Serialize};

use crate::scoreboard::LATENCY_BOUNDS_US;

pub const VERSION: u32 = 1;
/// The longest line the primary reads.
pub const MAX_LINE: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    pub v: u32,
    #[serde(flatten)]
    pub order: Order,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Order {
    Status,
    Reload {
        #[serde(default)]
        pool: Option<String>,
        #[serde(default)]
        plugin: Option<std::path::PathBuf>,
        #[serde(default)]
        set: Vec<(String, String)>,
    },
    Scale {
        #[serde(default)]
        pool: Option<String>,
        to: Target,
    },
    Restart {
        worker: u32,
    },
    Stop {
        #[serde(default)]
        now: bool,
    },
    /// Answered by a line for each happening, until the client closes.
    Events,
    /// Answered by a line for each line of the log.
    Logs {
        #[serde(default)]
        follow: bool,
        #[serde(default)]
        worker: Option<u32>,
    },
    /// Start this binary as the next primary and give it everything.
    Upgrade {
        binary: std::path::PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Exactly(usize),
    More(usize),
    Fewer(usize),
}

impl Target {
    pub fn from(self, now: usize) -> usize {
        match self {
            Target::Exactly(n) => n,
            Target::More(n) => now.saturating_add(n),
            Target::Fewer(n) => now.saturating_sub(n),
        }
    }
}

/// First line of every answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub v: u32,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Ok(serde_json::Value),
    Error(String),
}

/// A line of `logs`.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogLine {
    pub line: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub name: String,
    pub version: String,
    pub pid: i32,
    pub uptime_ms: u64,
    /// Resident bytes of the primary.
    pub rss: u64,
    pub pools: Vec<PoolStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    pub name: String,
    pub plugin: String,
    pub listen: Vec<String>,
    pub generation: u64,
    /// `starting`, `serving`, `reloading` or `stopping`.
    pub state: String,
    pub seats: usize,
    /// Workers that died and were started again.
    pub restarts: u64,
    /// Connections of client addresses that had too many.
    #[serde(default)]
    pub turned_away: u64,
    pub reloads: Reloads,
    /// Whether new connections find a worker.
    pub accepts: bool,
    pub workers: Vec<WorkerStatus>,
    /// What workers that have ended did.
    pub ended: Counters,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Reloads {
    pub done: u64,
    pub failed: u64,
    pub rolled_back: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    pub id: u32,
    pub pid: i32,
    /// Counted from 0; the successor of a worker takes the same.
    pub seat: usize,
    pub generation: u64,
    /// `starting`, `serving`, `ready` or `draining`.
    pub state: String,
    pub uptime_ms: u64,
    pub connections: u64,
    pub instances: u64,
    pub guest_memory: u64,
    pub rss: u64,
    /// Workers that died in this seat.
    pub restarts: u64,
    pub crash_loop: bool,
    #[serde(default)]
    pub walls: WallStatus,
    pub counters: Counters,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// What holds a worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WallStatus {
    /// `full`, `reduced` or `none`: `host doctor` says why.
    pub sandbox: String,
    /// 2 is a filter.
    pub seccomp: u8,
    pub no_new_privs: bool,
    /// In hexadecimal.
    pub capabilities: String,
    pub uid: u32,
    /// Version of Landlock; 0 is none.
    pub landlock: u8,
    pub no_new_code: bool,
    /// Its own ones.
    pub namespaces: Vec<String>,
    /// Bytes it may hold before it is killed,
    pub memory_limit: u64,
    /// by its `cgroup` or a `watchdog`.
    pub limited_by: String,
}

/// What only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub requests_started: u64,
    /// 1xx … 5xx.
    pub requests_by_class: [u64; 5],
    pub latency_buckets: Vec<u64>,
    pub latency_sum_us: u64,
    pub connections_closed: u64,
    pub instances_total: u64,
    pub traps: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
}

impl Counters {
    pub fn requests(&self) -> u64 {
        self.requests_by_class.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    pub fn add(&mut self, other: &Counters) {
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        add(&mut self.requests_started, other.requests_started);
        add(&mut self.latency_sum_us, other.latency_sum_us);
        add(&mut self.connections_closed, other.connections_closed);
        add(&mut self.instances_total, other.instances_total);
        add(&mut self.traps, other.traps);
        add(&mut self.messages_sent, other.messages_sent);
        add(&mut self.messages_received, other.messages_received);
        for (to, more) in self.requests_by_class.iter_mut().zip(other.requests_by_class) {
            add(to, more);
        }
        self.latency_buckets.resize(LATENCY_BOUNDS_US.len() + 1, 0);
        for (to, more) in self.latency_buckets.iter_mut().zip(&other.latency_buckets) {
            add(to, *more);
        }
    }

    /// The upper bound of the bucket in which this share of the requests lies; `None` without any,
    /// or when it is beyond the last bound.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let all: u64 = self.latency_buckets.iter().fold(0, |sum, n| sum.saturating_add(*n));
        let wanted = ((all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0u64;
        for (count, bound) in self.latency_buckets.iter().zip(LATENCY_BOUNDS_US) {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return Some(bound);
            }
        }
        None
    }
}

/// Whatever a client sends is an order that can be followed, or none.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let ask = serde_json::from_slice::<Ask>(bytes);
    if let Ok(Ask { order: Order::Scale { to, .. }, .. }) = ask {
        to.from(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_flat_object() {
        let text = r#"{"v":1,"do":"scale","to":{"more":2}}"#;
        let ask: Ask = serde_json::from_str(text).unwrap();
        assert!(matches!(ask.order, Order::Scale { pool: None, to: Target::More(2) }));
        let answer = Answer { v: 1, outcome: Outcome::Error("no".into()) };
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"v":1,"error":"no"}"#);
    }

    #[test]
    fn no_line_of_a_client_panics() {
        let orders = [
            r#"{"v":1,"do":"status"}"#,
            r#"{"v":1,"do":"reload","pool":"a","plugin":"/x.wasm","set":[["k","v"]]}"#,
            r#"{"v":1,"do":"scale","to":{"exactly":18446744073709551615}}"#,
            r#"{"v":1,"do":"logs","follow":true,"worker":3}"#,
            r#"{"v":1,"do":"upgrade","binary":"/\u0000"}"#,
            r#"{"v":1,"do":"events","x":[[[[{"a":1e999}]]]]}"#,
        ];
        let samples = orders.map(|order| order.as_bytes().to_vec());
        crate::fuzz::mutated(&samples, fuzz);
        crate::fuzz::known("control_line", fuzz);
    }

    #[test]
    fn a_quantile_is_a_bound_of_its_bucket() {
        let mut counters = Counters::default();
        assert_eq!(counters.quantile_us(0.5), None);
        counters.latency_buckets = vec![98, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(counters.quantile_us(0.5), Some(100));
        assert_eq!(counters.quantile_us(0.99), Some(250));
        assert_eq!(counters.quantile_us(1.0), None);
    }

    #[test]
    fn adding_never_wraps() {
        let most = Counters { requests_started: u64::MAX, ..Counters::default() };
        let mut sum = most.clone();
        sum.add(&most);
        assert_eq!(sum.requests_started, u64::MAX);
    }
}
