//! The other end of `bench_ipc_worker`: echoes or counts for SECONDS and prints the rate as JSON. With MODE=control
//! (and `--workers manual`) it forks SAMPLES workers one after the other, lets each flood a little, tells it to
//! drain, and prints when it did.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use host::cluster::{self, Cluster, Event};

/// How long a worker floods before its drain.
const FLOOD: Duration = Duration::from_millis(150);

fn number(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> host::Result<()> {
    match std::env::var("MODE").as_deref() {
        Ok("control") => control(number("SAMPLES", 40.0) as u32)?,
        Ok("flood") => count(false),
        _ => count(true),
    }
    Ok(())
}

#[derive(Default)]
struct Count {
    messages: u64,
    begun: Option<Instant>,
    done: bool,
}

fn count(echo: bool) {
    let time = Duration::from_secs_f64(number("SECONDS", 3.0) + 0.3);
    let count = Cluster::new(Count::default())
        .on(Event::Message, move |count: &mut Count, received| {
            count.begun.get_or_insert_with(Instant::now);
            count.messages += 1;
            if echo && let Err(error) = cluster::send_bytes(received.worker, &received.message.body)
            {
                eprintln!("echo: {error}");
            }
        })
        .after(time, |count| count.done = true)
        .until(|count| count.done)
        .run();
    let seconds = count.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    let rate = count.messages as f64 / seconds.max(0.001);
    println!("{{\"messages\": {}, \"seconds\": {seconds}, \"rate\": {rate}}}", count.messages);
}

struct Control {
    left: u32,
    flooding: Option<(u32, Instant)>,
}

fn control(samples: u32) -> Result<(), cluster::ClusterError> {
    cluster::fork(&[])?;
    Cluster::new(Control { left: samples, flooding: None })
        .on(Event::Online, |control: &mut Control, worker| {
            control.flooding = Some((*worker, Instant::now()));
        })
        .on(Event::Exit, |control, _| {
            control.left -= 1;
            if control.left > 0
                && let Err(error) = cluster::fork(&[])
            {
                eprintln!("fork: {error:?}");
                control.left = 0;
            }
        })
        .every(Duration::from_millis(10), |control| {
            if let Some((worker, _)) =
                control.flooding.take_if(|(_, since)| since.elapsed() >= FLOOD)
            {
                drain(worker);
            }
        })
        .until(|control| control.left == 0)
        .run();
    println!("{{\"samples\": {samples}}}");
    Ok(())
}

fn drain(worker: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    println!("drain {worker} {}", now.as_micros());
    if let Err(error) = cluster::disconnect(Some(worker)) {
        eprintln!("drain worker {worker}: {error:?}");
    }
}
