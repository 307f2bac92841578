//! One client of the control socket: reads a line, does what it says, answers, reads the next.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::error::RecvError;

use super::Reach;
use crate::control::protocol::{Answer, Ask, LogLine, MAX_LINE, Order, Outcome, VERSION};

/// A client that says nothing for so long, or does not read for so long, is let go.
const SILENCE: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(10);

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    reach: Reach,
}

/// Nothing more can be said to this client.
struct Gone;

pub async fn serve(stream: UnixStream, reach: Reach) {
    let (reader, writer) = stream.into_split();
    let mut client = Client { reader: BufReader::new(reader), writer, reach };
    while let Ok(Ok(line)) = tokio::time::timeout(SILENCE, client.line()).await {
        let Ok(order) = line else {
            let _ = client.refuse("that is not an order").await;
            return;
        };
        if client.obey(order).await.is_err() {
            return;
        }
    }
}

/// One that may not talk, or came too many: told so if that costs nothing.
pub fn turn_away(stream: UnixStream, why: &str) {
    let answer = Answer { v: VERSION, outcome: Outcome::Error(why.into()) };
    let _ = stream.try_write(&to_line(&answer));
}

impl Client {
    /// The next order, or what is no order; an error at the end of the stream.
    async fn line(&mut self) -> Result<Result<Order, ()>, Gone> {
        let mut line = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line).await;
        match read {
            Ok(1..) => {}
            _ => return Err(Gone),
        }
        let ask: Result<Ask, _> = match line.ends_with(b"\n") {
            true => serde_json::from_slice(&line),
            false => return Ok(Err(())),
        };
        Ok(ask.ok().filter(|ask| ask.v == VERSION).map(|ask| ask.order).ok_or(()))
    }

    async fn obey(&mut self, order: Order) -> Result<(), Gone> {
        match order {
            Order::Status => match self.reach.orders.status().await {
                Some(status) => self.answer(&status).await,
                None => self.refuse("the host is stopping").await,
            },
            Order::Events => self.events().await,
            Order::Stop { .. } => {
                if let Ok(done) = self.reach.orders.tell(order).await {
                    self.answer(&done).await?;
                }
                // Held open to the end: that it closes tells the client that the host is gone.
                closed(&mut self.reader).await;
                Err(Gone)
            }
            Order::Logs { follow, worker } => self.logs(follow, worker).await,
            order => match self.reach.orders.tell(order).await {
                Ok(done) => self.answer(&done).await,
                Err(why) => self.refuse(&why).await,
            },
        }
    }

    async fn events(&mut self) -> Result<(), Gone> {
        let mut news = self.reach.news.listen();
        self.answer(&Value::Null).await?;
        loop {
            let happened = tokio::select! {
                happened = news.recv() => happened,
                () = closed(&mut self.reader) => return Err(Gone),
            };
            match happened {
                Ok(happening) => self.send(&*happening).await?,
                Err(RecvError::Lagged(count)) => {
                    self.send(&serde_json::json!({ "event": "lost", "count": count })).await?;
                }
                Err(RecvError::Closed) => return Err(Gone),
            }
        }
    }

    async fn logs(&mut self, follow: bool, worker: Option<u32>) -> Result<(), Gone> {
        let prefix = worker.map(|id| format!("[worker {id}] "));
        let wanted = |line: &str| prefix.as_ref().is_none_or(|prefix| line.starts_with(prefix));
        let (recent, mut lines) = self.reach.output.recent();
        self.answer(&Value::Null).await?;
        for line in recent.iter().filter(|line| wanted(line)) {
            self.send(&LogLine { line: line.to_string() }).await?;
        }
        if !follow {
            return Err(Gone);
        }
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                () = closed(&mut self.reader) => return Err(Gone),
            };
            match line {
                Ok(line) if wanted(&line) => {
                    self.send(&LogLine { line: line.to_string() }).await?;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => {
                    self.send(&LogLine { line: format!("… {count} lines lost …") }).await?;
                }
                Err(RecvError::Closed) => return Err(Gone),
            }
        }
    }

    async fn answer(&mut self, value: &impl Serialize) -> Result<(), Gone> {
        let value = serde_json::to_value(value).map_err(|_| Gone)?;
        self.send(&Answer { v: VERSION, outcome: Outcome::Ok(value) }).await
    }

    async fn refuse(&mut self, why: &str) -> Result<(), Gone> {
        self.send(&Answer { v: VERSION, outcome: Outcome::Error(why.to_owned()) }).await
    }

    async fn send(&mut self, value: &impl Serialize) -> Result<(), Gone> {
        let line = to_line(value);
        match tokio::time::timeout(STALL, self.writer.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// Returns when the client closes, or says something while it is being told things.
async fn closed(reader: &mut BufReader<OwnedReadHalf>) {
    let _ = reader.fill_buf().await;
}

fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
