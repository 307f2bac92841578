//! Sends what `bench/` counts: with MODE=roundtrip SIZE bytes again and again, each after the echo of
//! the one before; with MODE=flood or MODE=control without end. Under MODE=control it also prints when the drain
//! reached it. Its twin is bench/peers-src/node-ipc.js.

use std::time::{SystemTime, UNIX_EPOCH};

use host::{ipc, process, task};

/// So many messages are sent before other tasks get their turn.
const BURST: usize = 64;

fn main() -> host::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let payload = vec![b'x'; variable("SIZE").parse().unwrap_or(64)];
    match variable("MODE").as_str() {
        "flood" => loop {
            ipc::send_bytes(&payload)?;
        },
        "control" => {
            task::block_on(task::race(flood(payload), drained()));
            Ok(())
        }
        _ => loop {
            ipc::send_bytes(&payload)?;
            ipc::receive_message()?;
        },
    }
}

async fn flood(payload: Vec<u8>) {
    let text = String::from_utf8(payload).unwrap_or_default();
    loop {
        for _ in 0..BURST {
            if ipc::send_async(&text).await.is_err() {
                // The channel closes as the drain begins, of which the other task tells.
                return std::future::pending().await;
            }
        }
        task::yield_now().await;
    }
}

async fn drained() {
    process::draining().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let worker = process::identity().worker.unwrap_or(0);
    println!("drained {worker} {}", now.as_micros());
}
