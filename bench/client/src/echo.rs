//! Raw TCP ping-pong: each connection sends `size` bytes, waits for the same bytes, repeats.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::histogram::Histogram;
use crate::options::Options;

#[derive(Default)]
struct Counts {
    latency: Histogram,
    connections: u64,
}

pub async fn run(options: Options) -> Result<Value> {
    let begun = Instant::now();
    let options = Rc::new(options);
    let counts = Rc::new(RefCell::new(Counts::default()));
    let mut players = JoinSet::new();
    for _ in 0..options.connections {
        let (options, counts) = (options.clone(), counts.clone());
        players.spawn_local(async move {
            while begun.elapsed() < options.duration {
                play(&options, &counts, begun).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(player) = players.join_next().await {
        player??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let counts = counts.borrow();
    Ok(json!({
        "seconds": seconds,
        "ok": counts.latency.count(),
        "rate": counts.latency.count() as f64 / seconds,
        "connections": counts.connections,
        "connection_rate": counts.connections as f64 / seconds,
        "p50_us": counts.latency.quantile(0.5),
        "p99_us": counts.latency.quantile(0.99),
    }))
}

async fn play(options: &Options, counts: &RefCell<Counts>, begun: Instant) -> Result<()> {
    let mut stream = TcpStream::connect(options.addr).await.context("connect")?;
    stream.set_nodelay(true)?;
    counts.borrow_mut().connections += 1;
    let ping: Vec<u8> = (0..options.size).map(|n| b'a' + (n % 26) as u8).collect();
    let mut pong = vec![0; options.size];
    let mut exchanges = 0;
    while begun.elapsed() < options.duration {
        let sent = Instant::now();
        stream.write_all(&ping).await.context("send")?;
        stream.read_exact(&mut pong).await.context("receive")?;
        ensure!(ping == pong, "the echo differs from what was sent");
        counts.borrow_mut().latency.record(sent.elapsed());
        exchanges += 1;
        if exchanges == options.exchanges {
            break;
        }
    }
    Ok(())
}
