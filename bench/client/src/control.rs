//! Runs the HTTP load and obeys the lines on stdin meanwhile: `phase NAME` starts a new stretch of
//! latencies, `allow BODY` makes BODY the only right answer of requests that start from now on,
//! `also BODY` adds one, `report` prints the figures so far, `stop` ends the run. End of stdin is
//! ignored, so that a run without a harness needs none.

use std::cell::RefCell;
use std::io::BufRead;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::stats::Stats;
use crate::{h1, h2};

/// What every connection of a run shares.
#[derive(Clone)]
pub struct Run {
    pub options: Rc<Options>,
    pub stats: Rc<RefCell<Stats>>,
}

/// How long one request may take, and how long to pause after a refused connection.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
pub const REFUSED_PAUSE: Duration = Duration::from_millis(1);

pub async fn run(options: Options) -> Result<Value> {
    let stats = Stats::new(options.allow.clone(), options.requests, options.duration);
    let run = Run { options: Rc::new(options), stats: Rc::new(RefCell::new(stats)) };
    let mut connections = JoinSet::new();
    for _ in 0..run.options.keepalive {
        connections.spawn_local(h1::keep_alive(run.clone()));
    }
    for _ in 0..run.options.close {
        connections.spawn_local(h1::one_request_each(run.clone()));
    }
    for _ in 0..run.options.h2 {
        connections.spawn_local(h2::requests(run.clone()));
    }
    let obeying = tokio::task::spawn_local(obey(run.clone(), stdin_lines()));
    while connections.join_next().await.transpose()?.is_some() {}
    obeying.abort();
    Ok(run.stats.borrow().report())
}

async fn obey(run: Run, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(line) = lines.recv().await {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let mut stats = run.stats.borrow_mut();
        match verb {
            "phase" => stats.enter(rest),
            "allow" => stats.allow = vec![rest.to_owned()],
            "also" => stats.allow.push(rest.to_owned()),
            "report" => println!("{}", stats.report()),
            "stop" => stats.stop(),
            _ => eprintln!("bench-client: unknown line {line}"),
        }
    }
}

fn stdin_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
