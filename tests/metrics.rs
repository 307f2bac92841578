//! The figures are valid Prometheus text, agree with what clients saw, and never go back.

use crate::support::{Connection, Response, Server, process, wait_for};
use nix::sys::signal::Signal;
use prometheus_parse::{Scrape, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

fn start(name: &str, flags: &[&str]) -> (Server, SocketAddr) {
    let server = Server::serving(name, &[&["--metrics", "127.0.0.1:0"][..], flags].concat());
    let line = server.wait_line("metrics on http://");
    let address = line.strip_prefix("host: metrics on http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().parse().unwrap();
    (server, address)
}

fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).get(path)
}

fn scrape(address: SocketAddr) -> Scrape {
    let answer = get(address, "/metrics");
    assert_eq!(answer.status(), 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("valid text");
    let parsed: usize = scrape
        .samples
        .iter()
        .map(|sample| match &sample.value {
            Value::Histogram(buckets) => buckets.len(),
            _ => 1,
        })
        .sum();
    assert_eq!(parsed, samples, "the parser skipped something");
    scrape
}

/// The sum over all workers, by name, of what only grows.
fn totals(scrape: &Scrape) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for sample in &scrape.samples {
        let value = match &sample.value {
            Value::Counter(value) => *value,
            Value::Histogram(buckets) => buckets.iter().map(|bucket| bucket.count).sum(),
            Value::Untyped(value) if sample.metric.ends_with("_count") => *value,
            Value::Untyped(value) if sample.metric.ends_with("_sum") => *value,
            _ => continue,
        };
        let class = sample.labels.get("class").unwrap_or_default();
        *sums.entry(format!("{} {class}", sample.metric)).or_default() += value;
    }
    sums
}

#[test]
fn every_sample_parses_is_labelled_and_told_once() {
    let (server, metrics) = start("fixture", &["--workers", "2"]);
    for _ in 0..20 {
        server.get("/");
    }
    server.get("/status?code=404");
    server.get("/trap");
    let scrape = scrape(metrics);
    let mut seen = BTreeSet::new();
    for sample in &scrape.samples {
        let mut labels: Vec<_> = sample.labels.iter().collect();
        labels.sort();
        assert!(seen.insert(format!("{} {labels:?}", sample.metric)), "{} twice", sample.metric);
        if !["host_info", "host_uptime_seconds", "host_primary_resident_bytes"]
            .contains(&sample.metric.as_str())
        {
            assert_eq!(sample.labels.get("plugin"), Some("fixture"), "{}", sample.metric);
        }
    }
    let totals = totals(&scrape);
    assert_eq!(totals["host_requests_total 2xx"], 20.0);
    assert_eq!(totals["host_requests_total 4xx"], 1.0);
    assert_eq!(totals["host_requests_total 5xx"], 1.0);
    assert_eq!(totals["host_request_duration_seconds_count "], 22.0);
    assert_eq!(totals["host_traps_total "], 1.0);
    for family in ["host_connections", "host_instances", "host_guest_memory_bytes"] {
        let workers = scrape.samples.iter().filter(|sample| sample.metric == family);
        assert_eq!(workers.count(), 2, "{family}");
    }
    server.finish();
}

#[test]
fn counters_never_go_back_when_workers_die_restart_or_reload() {
    let (server, metrics) = start("hello", &["--workers", "2"]);
    let mut before = totals(&scrape(metrics));
    let mut check = |what: &str| {
        let now = totals(&scrape(metrics));
        for (name, value) in &before {
            // The sum of floating-point sums depends on their order, in the last digit.
            assert!(
                now[name] >= *value - 1e-9,
                "{what}: {name} went from {value} to {}",
                now[name]
            );
        }
        before = now;
    };
    let ask = || (0..10).for_each(|_| assert_eq!(server.get("/").status(), 200));
    ask();
    check("requests");
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_line("worker 3 ready");
    check("a kill");
    ask();
    server.tell(&["restart", "2"]);
    check("a restart");
    server.tell(&["reload"]);
    ask();
    check("a reload");
    server.tell(&["scale", "1"]);
    wait_for("one worker", || (server.workers().len() == 1).then_some(()));
    check("scaling");
    let end = totals(&scrape(metrics));
    assert_eq!(end["host_requests_total 2xx"], 30.0);
    assert_eq!(end["host_worker_restarts_total "], 1.0);
    assert_eq!(end["host_reloads_total "], 1.0);
    server.finish();
}

#[test]
fn health_and_readiness_are_told_apart() {
    let (server, metrics) = start("hello", &[]);
    assert_eq!(get(metrics, "/healthz").text(), "ok\n");
    assert_eq!(get(metrics, "/readyz").text(), "ok\n");
    // Its successor is let down as well, until somebody has seen it.
    wait_for("a time without workers", || {
        server.workers().into_iter().for_each(|pid| process::signal(pid, Signal::SIGKILL));
        let ready = get(metrics, "/readyz");
        (ready.status() == 503 && ready.text() == "not serving: hello\n").then_some(())
    });
    assert_eq!(get(metrics, "/healthz").status(), 200);
    wait_for("service again", || (get(metrics, "/readyz").status() == 200).then_some(()));
    server.finish();
}

#[test]
fn other_paths_methods_and_bad_clients_get_nowhere() {
    let (server, metrics) = start("hello", &[]);
    assert_eq!(get(metrics, "/").status(), 404);
    let mut post = Connection::open(metrics);
    assert_eq!(post.post("/metrics", b"x").status(), 405);
    let mut long = Connection::open(metrics);
    let _ = long.try_send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)));
    assert!(!long.try_response().is_ok_and(|answer| answer.is_some_and(|a| a.status() == 200)));
    // Those that say nothing are let go, and others get their turn.
    let silent: Vec<Connection> = (0..40).map(|_| Connection::open(metrics)).collect();
    assert_eq!(get(metrics, "/healthz").status(), 200);
    assert_eq!(server.get("/").status(), 200);
    drop(silent);
    server.finish();
}
