//! The command line as one checked struct.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub struct Options {
    pub addr: SocketAddr,
    /// Where HTTP/2 connections go; some peers need a port of its own for it.
    pub h2_addr: SocketAddr,
    pub path: String,
    /// Bodies that count as right; none given means any.
    pub allow: Vec<String>,
    pub keepalive: usize,
    pub close: usize,
    pub h2: usize,
    /// Requests per second over all connections; 0 means as fast as answers come.
    pub rate: f64,
    pub duration: Duration,
    /// Stop after this many requests, whatever the time.
    pub requests: u64,
    pub connections: usize,
    pub size: usize,
    /// Echo exchanges before a connection is replaced; 0 means never.
    pub exchanges: u64,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Options {
            addr: nowhere,
            h2_addr: nowhere,
            path: "/".into(),
            allow: Vec::new(),
            keepalive: 0,
            close: 0,
            h2: 0,
            rate: 0.0,
            duration: Duration::from_secs(u32::MAX.into()),
            requests: u64::MAX,
            connections: 64,
            size: 64,
            exchanges: 0,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            options.set(&name, value.clone()).with_context(|| format!("{name} {value}"))?;
        }
        if options.addr == nowhere {
            bail!("--addr is required");
        }
        if options.h2_addr == nowhere {
            options.h2_addr = options.addr;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "--addr" => self.addr = value.parse()?,
            "--h2-addr" => self.h2_addr = value.parse()?,
            "--path" => self.path = value,
            "--allow" => self.allow.push(value),
            "--keepalive" => self.keepalive = value.parse()?,
            "--close" => self.close = value.parse()?,
            "--h2" => self.h2 = value.parse()?,
            "--rate" => self.rate = value.parse()?,
            "--duration" => self.duration = Duration::from_secs_f64(value.parse()?),
            "--requests" => self.requests = value.parse()?,
            "--connections" => self.connections = value.parse()?,
            "--size" => self.size = value.parse()?,
            "--exchanges" => self.exchanges = value.parse()?,
            _ => bail!("unknown option"),
        }
        Ok(())
    }

    /// The pause between two requests of one connection that makes `rate` over all of them.
    pub fn interval(&self) -> Option<Duration> {
        let connections = (self.keepalive + self.close + self.h2) as f64;
        (self.rate > 0.0).then(|| Duration::from_secs_f64(connections / self.rate))
    }
}
