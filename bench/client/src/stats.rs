//! What is counted, and the JSON it becomes. A phase is a named stretch of the run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::histogram::Histogram;

/// How one attempt ended, when not with the right answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No connection could be made.
    Refused,
    /// The connection ended after the request was sent and before any byte of the answer.
    ClosedUnanswered,
    /// The connection ended inside the answer.
    ClosedMidAnswer,
    Timeout,
    Malformed,
    WrongStatus,
    WrongBody,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::ClosedUnanswered => "closed-unanswered",
            Fault::ClosedMidAnswer => "closed-mid-answer",
            Fault::Timeout => "timeout",
            Fault::Malformed => "malformed",
            Fault::WrongStatus => "wrong-status",
            Fault::WrongBody => "wrong-body",
        }
    }
}

#[derive(Default)]
struct Phase {
    name: String,
    latency: Histogram,
    faults: u64,
}

pub struct Stats {
    begun: Instant,
    phases: Vec<Phase>,
    faults: BTreeMap<Fault, u64>,
    bodies: BTreeMap<String, u64>,
    first_bad_body: Option<String>,
    pub allow: Vec<String>,
    pub connections_opened: u64,
    /// Keep-alive connections the server closed between requests without a word.
    pub keepalive_closed_silently: u64,
    /// Keep-alive connections whose answer carried `Connection: close`.
    pub keepalive_close_announced: u64,
    pub h2_goaways: u64,
    pub requests_left: u64,
    deadline: Instant,
}

impl Stats {
    pub fn new(allow: Vec<String>, requests: u64, duration: Duration) -> Stats {
        let begun = Instant::now();
        Stats {
            begun,
            phases: vec![Phase { name: "steady".into(), ..Phase::default() }],
            faults: BTreeMap::new(),
            bodies: BTreeMap::new(),
            first_bad_body: None,
            allow,
            connections_opened: 0,
            keepalive_closed_silently: 0,
            keepalive_close_announced: 0,
            h2_goaways: 0,
            requests_left: requests,
            deadline: begun + duration,
        }
    }

    /// Whether one more request may start; counts it.
    pub fn take_request(&mut self) -> bool {
        if self.requests_left == 0 || Instant::now() >= self.deadline {
            return false;
        }
        self.requests_left -= 1;
        true
    }

    pub fn stop(&mut self) {
        self.requests_left = 0;
    }

    pub fn enter(&mut self, name: &str) {
        match self.phases.iter().position(|phase| phase.name == name) {
            Some(known) => {
                let phase = self.phases.remove(known);
                self.phases.push(phase);
            }
            None => self.phases.push(Phase { name: name.into(), ..Phase::default() }),
        }
    }

    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
        self.phase().faults += 1;
    }

    /// `allowed` is what was right when the request started; what has become right since is, too.
    pub fn answer(&mut self, status: u16, body: &[u8], allowed: &[String], latency: Duration) {
        let text = String::from_utf8_lossy(body).trim_end().to_owned();
        if status != 200 {
            self.first_bad_body.get_or_insert(format!("{status} {text}"));
            return self.fault(Fault::WrongStatus);
        }
        if !allowed.is_empty() && !allowed.contains(&text) && !self.allow.contains(&text) {
            self.first_bad_body.get_or_insert(text);
            return self.fault(Fault::WrongBody);
        }
        if self.bodies.len() < 100 || self.bodies.contains_key(&text) {
            *self.bodies.entry(text).or_default() += 1;
        }
        self.phase().latency.record(latency);
    }

    fn phase(&mut self) -> &mut Phase {
        self.phases.last_mut().expect("never empty")
    }

    pub fn report(&self) -> Value {
        let seconds = self.begun.elapsed().as_secs_f64();
        let ok: u64 = self.phases.iter().map(|phase| phase.latency.count()).sum();
        let faults = self.faults.iter().map(|(fault, n)| (fault.name().to_owned(), json!(n)));
        let failed = self.faults.iter().filter(|(fault, _)| **fault != Fault::Refused);
        let phases = self.phases.iter().map(|phase| (phase.name.clone(), latencies(phase)));
        json!({
            "seconds": seconds,
            "ok": ok,
            "rate": ok as f64 / seconds,
            "failed": failed.map(|(_, n)| n).sum::<u64>(),
            "refused": self.faults.get(&Fault::Refused).copied().unwrap_or(0),
            "faults": serde_json::Map::from_iter(faults),
            "first_bad": self.first_bad_body,
            "bodies": self.bodies,
            "connections_opened": self.connections_opened,
            "keepalive_closed_silently": self.keepalive_closed_silently,
            "keepalive_close_announced": self.keepalive_close_announced,
            "h2_goaways": self.h2_goaways,
            "phases": serde_json::Map::from_iter(phases),
        })
    }
}

fn latencies(phase: &Phase) -> Value {
    json!({
        "ok": phase.latency.count(),
        "faults": phase.faults,
        "p50_us": phase.latency.quantile(0.5),
        "p99_us": phase.latency.quantile(0.99),
        "p999_us": phase.latency.quantile(0.999),
        "max_us": phase.latency.max_us(),
    })
}
