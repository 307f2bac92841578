//! The listeners of a pool: common ones, or a set for each seat.

use anyhow::{Result, bail};

use super::balance::Policy;
use super::listen::{self, Listener};
use super::takeover::Estate;
use crate::config::PoolConfig;

pub struct Bound {
    pub common: Vec<Listener>,
    /// Under `--balance reuseport`; empty else.
    pub per_seat: Vec<Vec<Listener>>,
}

impl Bound {
    /// What a predecessor has left is taken first.
    pub fn open(config: &PoolConfig, mut estate: Option<&mut Estate>) -> Result<Bound> {
        let reuse = config.balance == Policy::ReusePort;
        let mut open =
            |spec| match estate.as_mut().and_then(|estate| estate.listener(&config.name, spec)) {
                Some(listener) => Ok(listener),
                None => listen::open(spec, config.backlog, reuse),
            };
        let first: Vec<Listener> = config.listen.iter().map(&mut open).collect::<Result<_>>()?;
        let mut further = estate.map(|estate| estate.rest(&config.name)).unwrap_or_default();
        if !reuse {
            return Ok(Bound { common: first, per_seat: Vec::new() });
        }
        let mut per_seat = vec![first];
        while per_seat.len() < config.workers {
            let of_a_seat = config.listen.len();
            let next = match further.len() >= of_a_seat {
                true => further.drain(..of_a_seat).collect(),
                false => another_seat(&per_seat[0], config)?,
            };
            per_seat.push(next);
        }
        // Seats the predecessor had more: closed, they would reset what they have queued.
        per_seat[0].extend(further);
        Ok(Bound { common: Vec::new(), per_seat })
    }
}

/// Further listeners on the same addresses.
pub fn another_seat(first: &[Listener], config: &PoolConfig) -> Result<Vec<Listener>> {
    let again = |listener: &Listener| match listener.address.tcp() {
        Some(address) => listen::open_tcp(address, config.backlog, true),
        None => bail!("--balance reuseport: {} cannot be shared out", listener.address),
    };
    first.iter().map(again).collect()
}
