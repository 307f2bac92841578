//! Answers as tables for people.

use serde_json::Value;

use super::protocol::{PoolStatus, Status, WorkerStatus};

pub fn hosts(all: &[Status]) -> Vec<String> {
    let mut rows = vec![
        ["NAME", "PID", "VERSION", "UP", "POOLS", "WORKERS", "REQUESTS", "LISTEN"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for host in all {
        let listen: Vec<&str> =
            host.pools.iter().flat_map(|pool| &pool.listen).map(String::as_str).collect();
        rows.push(vec![
            host.name.clone(),
            host.pid.to_string(),
            host.version.clone(),
            time(host.uptime_ms),
            host.pools.len().to_string(),
            host.pools.iter().map(|pool| pool.seats).sum::<usize>().to_string(),
            host.pools.iter().map(requests).sum::<u64>().to_string(),
            listen.join(" "),
        ]);
    }
    columns(&rows)
}

pub fn status(host: &Status) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  pid {}  version {}  up {}  rss {}",
        host.name,
        host.pid,
        host.version,
        time(host.uptime_ms),
        size(host.rss)
    )];
    for pool in &host.pools {
        lines.push(String::new());
        lines.push(heading(pool));
        lines.extend(columns(&workers(pool)));
    }
    lines
}

pub fn heading(pool: &PoolStatus) -> String {
    let reloads = pool.reloads;
    format!(
        "{}  {}  {}  generation {}, {}  requests {}  restarts {}  reloads {} done, {} failed",
        pool.name,
        pool.plugin,
        pool.listen.join(" "),
        pool.generation,
        pool.state,
        requests(pool),
        pool.restarts,
        reloads.done,
        reloads.failed
    )
}

/// A header row and one for each worker.
pub fn workers(pool: &PoolStatus) -> Vec<Vec<String>> {
    let titles = [
        "ID", "PID", "SEAT", "GEN", "STATE", "UP", "CONN", "REQ", "2xx", "4xx", "5xx", "P50",
        "P99", "INST", "GUEST", "RSS", "LIMIT", "WALLS", "RESTARTS",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(pool.workers.iter().map(worker));
    rows
}

fn worker(worker: &WorkerStatus) -> Vec<String> {
    let counters = &worker.counters;
    let state = match worker.crash_loop {
        true => format!("{} (crash loop)", worker.state),
        false => worker.state.clone(),
    };
    vec![
        worker.id.to_string(),
        worker.pid.to_string(),
        worker.seat.to_string(),
        worker.generation.to_string(),
        state,
        time(worker.uptime_ms),
        worker.connections.to_string(),
        counters.requests().to_string(),
        counters.requests_by_class[1].to_string(),
        counters.requests_by_class[3].to_string(),
        counters.requests_by_class[4].to_string(),
        latency(worker.p50_us),
        latency(worker.p99_us),
        worker.instances.to_string(),
        size(worker.guest_memory),
        size(worker.rss),
        format!("{} {}", size(worker.walls.memory_limit), worker.walls.limited_by),
        worker.walls.sandbox.clone(),
        worker.restarts.to_string(),
    ]
}

pub fn event(event: &Value) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut line = format!("{} {}", text("pool"), text("event"));
    for (key, value) in event.as_object().into_iter().flatten() {
        if !["pool", "event", "time"].contains(&key.as_str()) && !value.is_null() {
            match value.as_str() {
                Some(value) => line += &format!(" {key}={value}"),
                None => line += &format!(" {key}={value}"),
            }
        }
    }
    line.trim_start().to_owned()
}

pub fn requests(pool: &PoolStatus) -> u64 {
    let living: u64 = pool.workers.iter().map(|worker| worker.counters.requests()).sum();
    living.saturating_add(pool.ended.requests())
}

pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(i, cell)| format!("{cell:<0$}", width(i).unwrap_or(0)));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

pub fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{}K", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{:.1}M", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1}G", bytes as f64 / 1_073_741_824.0),
    }
}

fn latency(us: Option<u64>) -> String {
    match us {
        None => "-".into(),
        Some(us @ 0..1000) => format!("≤{us}µs"),
        Some(us @ 1000..1_000_000) => format!("≤{}ms", us as f64 / 1000.0),
        Some(us) => format!("≤{}s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_figures_are_short() {
        let rows = [["A", "B"], ["long", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), ["A     B", "long  1"]);
        assert_eq!([time(5_000), time(65_000), time(90_000_000)], ["5s", "1m5s", "1d1h"]);
        assert_eq!([size(5), size(2048), size(3 << 20)], ["5B", "2K", "3.0M"]);
        assert_eq!([latency(Some(250)), latency(Some(2500))], ["≤250µs", "≤2.5ms"]);
    }
}
