//! A status as Prometheus text. Every sample of a pool has the label `plugin`; those of workers also
//! `worker`, its id, or `ended` for all that are gone together: so a sum over workers never goes back.

use std::fmt::Write;

use crate::control::protocol::{Counters, PoolStatus, Status, WorkerStatus};
use crate::scoreboard::LATENCY_BOUNDS_US;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub fn render(status: &Status) -> String {
    let mut page = Page(String::new());
    let pools = &status.pools;
    page.family("host_info", "gauge", "The host; always 1.");
    page.sample("host_info", &[("name", &status.name), ("version", &status.version)], 1.0);
    page.family("host_uptime_seconds", "gauge", "Since the primary started.");
    page.sample("host_uptime_seconds", &[], status.uptime_ms as f64 / 1000.0);
    page.family("host_primary_resident_bytes", "gauge", "Resident memory of the primary.");
    page.sample("host_primary_resident_bytes", &[], status.rss as f64);
    of_pools(&mut page, pools);
    of_workers(&mut page, pools);
    requests(&mut page, pools);
    latency(&mut page, pools);
    counters(&mut page, pools);
    page.0
}

fn of_pools(page: &mut Page, pools: &[PoolStatus]) {
    type Figure = fn(&PoolStatus) -> f64;
    let all: [(&str, &str, &str, Figure); 8] = [
        ("host_generation", "gauge", "The generation that serves.", |pool| pool.generation as f64),
        ("host_ready", "gauge", "1 while new connections find a worker.", |pool| {
            f64::from(u8::from(pool.accepts))
        }),
        ("host_seats", "gauge", "Workers the pool is to have.", |pool| pool.seats as f64),
        ("host_worker_restarts_total", "counter", "Workers that died and were replaced.", |pool| {
            pool.restarts as f64
        }),
        (
            "host_connections_turned_away_total",
            "counter",
            "Closed at once, as their client address had too many.",
            |pool| pool.turned_away as f64,
        ),
        ("host_reloads_total", "counter", "Reloads that took over.", |pool| {
            pool.reloads.done as f64
        }),
        ("host_reload_failures_total", "counter", "Reloads that changed nothing.", |pool| {
            pool.reloads.failed as f64
        }),
        ("host_rollbacks_total", "counter", "Generations replaced by the one before.", |pool| {
            pool.reloads.rolled_back as f64
        }),
    ];
    for (name, kind, help, figure) in all {
        page.family(name, kind, help);
        for pool in pools {
            page.sample(name, &[("plugin", &pool.name)], figure(pool));
        }
    }
}

fn of_workers(page: &mut Page, pools: &[PoolStatus]) {
    type Figure = fn(&WorkerStatus) -> f64;
    let all: [(&str, &str, Figure); 6] = [
        ("host_connections", "Open connections.", |worker| worker.connections as f64),
        ("host_instances", "Live instances of the plugin.", |worker| worker.instances as f64),
        ("host_guest_memory_bytes", "Memory of live instances.", |worker| {
            worker.guest_memory as f64
        }),
        ("host_worker_resident_bytes", "Resident memory of the worker.", |worker| {
            worker.rss as f64
        }),
        ("host_worker_uptime_seconds", "Since the worker started.", |worker| {
            worker.uptime_ms as f64 / 1000.0
        }),
        ("host_worker_crash_loop", "1 while its seat is in a crash loop.", |worker| {
            f64::from(u8::from(worker.crash_loop))
        }),
    ];
    for (name, help, figure) in all {
        page.family(name, "gauge", help);
        for pool in pools {
            for worker in &pool.workers {
                let id = worker.id.to_string();
                page.sample(name, &[("plugin", &pool.name), ("worker", &id)], figure(worker));
            }
        }
    }
}

/// The pool's name, the worker or `ended`, and its counters.
fn each(pools: &[PoolStatus]) -> impl Iterator<Item = (&str, String, &Counters)> {
    pools.iter().flat_map(|pool| {
        let living = pool.workers.iter().map(|worker| (worker.id.to_string(), &worker.counters));
        let ended = std::iter::once(("ended".to_owned(), &pool.ended));
        living.chain(ended).map(|(worker, counters)| (&pool.name[..], worker, counters))
    })
}

fn requests(page: &mut Page, pools: &[PoolStatus]) {
    let name = "host_requests_total";
    page.family(name, "counter", "Finished requests by status class.");
    for (plugin, worker, counters) in each(pools) {
        for (class, count) in CLASSES.iter().zip(counters.requests_by_class) {
            let labels = [("plugin", plugin), ("worker", &worker), ("class", class)];
            page.sample(name, &labels, count as f64);
        }
    }
}

fn latency(page: &mut Page, pools: &[PoolStatus]) {
    page.family(
        "host_request_duration_seconds",
        "histogram",
        "From a request's head to its answer's.",
    );
    for (plugin, worker, counters) in each(pools) {
        let mut seen = 0u64;
        let mut bounds = LATENCY_BOUNDS_US.iter().map(|bound| (*bound as f64 / 1e6).to_string());
        for index in 0..=LATENCY_BOUNDS_US.len() {
            let count = counters.latency_buckets.get(index).copied().unwrap_or(0);
            seen = seen.saturating_add(count);
            let bound = bounds.next().unwrap_or_else(|| "+Inf".into());
            let labels = [("plugin", plugin), ("worker", &worker), ("le", &bound)];
            page.sample("host_request_duration_seconds_bucket", &labels, seen as f64);
        }
        let labels = [("plugin", plugin), ("worker", &worker)];
        let sum = counters.latency_sum_us as f64 / 1e6;
        page.sample("host_request_duration_seconds_sum", &labels, sum);
        page.sample("host_request_duration_seconds_count", &labels, seen as f64);
    }
}

fn counters(page: &mut Page, pools: &[PoolStatus]) {
    type Figure = fn(&Counters) -> u64;
    let all: [(&str, &str, Figure); 6] = [
        ("host_requests_started_total", "Requests whose head has arrived.", |c| c.requests_started),
        ("host_connections_closed_total", "Connections a worker is done with.", |c| {
            c.connections_closed
        }),
        ("host_instances_total", "Instances made.", |c| c.instances_total),
        ("host_traps_total", "Instances that trapped.", |c| c.traps),
        ("host_messages_sent_total", "Messages from plugins to the primary.", |c| c.messages_sent),
        ("host_messages_received_total", "Messages from the primary to plugins.", |c| {
            c.messages_received
        }),
    ];
    for (name, help, figure) in all {
        page.family(name, "counter", help);
        for (plugin, worker, counters) in each(pools) {
            page.sample(name, &[("plugin", plugin), ("worker", &worker)], figure(counters) as f64);
        }
    }
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0 += name;
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut page = Page(String::new());
        page.sample("a", &[("b", "x\"y\\z\n"), ("c", "d")], 1.5);
        page.sample("e", &[], 2.0);
        assert_eq!(page.0, "a{b=\"x\\\"y\\\\z\\n\",c=\"d\"} 1.5\ne 2\n");
    }
}
