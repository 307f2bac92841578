//! The asking end of the control socket: finds the host that is meant, sends one order, reads lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use super::place;
use super::protocol::{Answer, Ask, Order, Outcome, VERSION};

/// More than the status of a thousand workers needs.
const MAX_ANSWER: u64 = 16 << 20;
/// A host answers a question about itself within this time.
pub const PROMPT: Duration = Duration::from_secs(5);

/// There is no such host; exit code 3 says so.
#[derive(Debug)]
pub struct NoHost(pub String);

impl std::fmt::Display for NoHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoHost {}

pub struct Client {
    stream: BufReader<UnixStream>,
}

/// The host of this name or at this path; without either, the only one there is.
pub fn find(name: Option<&str>, path: Option<&Path>) -> Result<Client> {
    if let Some(path) = path {
        return connect(path)
            .with_context(|| NoHost(format!("no host answers at {}", path.display())));
    }
    let directory = place::directory();
    if let Some(name) = name {
        let path = place::socket(&directory, name);
        let none = || NoHost(format!("no host named {name} is running ({})", path.display()));
        return trusted(&directory, &path).with_context(none);
    }
    let mut running = running();
    match running.len() {
        0 => Err(NoHost(format!("no host is running (looked in {})", directory.display())).into()),
        1 => Ok(running.remove(0).1),
        n => {
            let names: Vec<_> = running.into_iter().map(|(name, _)| name).collect();
            bail!("{n} hosts are running: {}; choose one with --name", names.join(", "))
        }
    }
}

/// Every host that answers, by name.
pub fn running() -> Vec<(String, Client)> {
    let directory = place::directory();
    let answers = |(name, path): (String, PathBuf)| Some((name, trusted(&directory, &path).ok()?));
    place::all(&directory).into_iter().filter_map(answers).collect()
}

fn trusted(directory: &Path, path: &Path) -> Result<Client> {
    place::check(directory)?;
    connect(path)
}

fn connect(path: &Path) -> Result<Client> {
    let stream = UnixStream::connect(path)?;
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?;
    let me = nix::unistd::geteuid().as_raw();
    let trusted = me == 0 || peer.uid() == me || peer.uid() == 0;
    ensure!(trusted, "it belongs to uid {}", peer.uid());
    stream.set_write_timeout(Some(PROMPT))?;
    Ok(Client { stream: BufReader::new(stream) })
}

impl Client {
    /// Sends an order and reads the answer's first line; `patience` is for the answer.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        order: Order,
        patience: Option<Duration>,
    ) -> Result<T> {
        let mut line = serde_json::to_vec(&Ask { v: VERSION, order }).context("write order")?;
        line.push(b'\n');
        let stream = self.stream.get_mut();
        stream.set_read_timeout(patience).context("set time-out")?;
        // Who is turned away may find the other end closed already, but also why.
        let sent = stream.write_all(&line);
        let line = match (self.line(), sent) {
            (Ok(Some(line)), _) => line,
            (Ok(None), Ok(())) => bail!("the host ended without answering"),
            (Err(error), Ok(())) => return Err(error).context("read answer"),
            (_, Err(error)) => bail!("send order: {error}"),
        };
        let answer: Answer = serde_json::from_str(&line).context("read answer")?;
        ensure!(answer.v == VERSION, "the host speaks version {} of the protocol", answer.v);
        match answer.outcome {
            Outcome::Ok(value) => serde_json::from_value(value).context("read answer"),
            Outcome::Error(why) => bail!("{why}"),
        }
    }

    /// The next line, `None` at the end.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let length = (&mut self.stream).take(MAX_ANSWER).read_line(&mut line)?;
        match length {
            0 => Ok(None),
            _ => Ok(Some(line)),
        }
    }
}
