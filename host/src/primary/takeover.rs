//! The side of a binary upgrade that comes: takes listeners and idle connections over from the host
//! that runs, which started us and trusts us as we trust it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::PoolId;
use super::accepted::Accepted;
use super::fleet::Fleet;
use super::listen::Listener;
use super::pool::{Phase, Pool};
use crate::config::ListenSpec;
use crate::ipc::channel::Channel;
use crate::ipc::message::{FromHeir, ToHeir};
use crate::sys;

/// Names the descriptor of the channel to the host that is to be replaced.
pub const TAKE_OVER: &str = "HOST_TAKE_OVER";
/// All of it is on its way when we are started.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a predecessor leaves.
pub struct Estate {
    pub socket: Option<(String, PathBuf)>,
    pub worker: u32,
    pub metrics: Option<std::net::TcpListener>,
    generations: Vec<(String, u64)>,
    listeners: Vec<(String, ListenSpec, Listener)>,
    channel: Rc<Channel<FromHeir, ToHeir>>,
}

/// `None` if this is a start like any other.
pub async fn receive() -> Result<Option<Estate>> {
    let Ok(number) = std::env::var(TAKE_OVER) else { return Ok(None) };
    let number = number.parse().ok().filter(|fd| *fd > 2).context("take over: no channel")?;
    let channel = Rc::new(Channel::new(sys::adopt_fd(number).context("take over")?)?);
    let everything = tokio::time::timeout(DEADLINE, everything(channel));
    everything.await.context("take over: not everything came within 5s")?.map(Some)
}

async fn everything(channel: Rc<Channel<FromHeir, ToHeir>>) -> Result<Estate> {
    let mut estate = match channel.recv().await? {
        Some((ToHeir::Estate { socket, worker, generations }, _)) => Estate {
            socket,
            worker,
            metrics: None,
            generations,
            listeners: Vec::new(),
            channel: channel.clone(),
        },
        _ => bail!("take over: the host that runs is of another kind"),
    };
    loop {
        let (message, fds) = channel.recv().await?.context("take over: the host has ended")?;
        match message {
            ToHeir::Listener { pool, spec, address, unlink, inherited } => {
                let listener = Listener::left(only(fds)?, address, unlink, inherited);
                estate.listeners.push((pool, spec, listener));
            }
            ToHeir::Metrics => estate.metrics = Some(only(fds)?.into()),
            ToHeir::Complete => return Ok(estate),
            ToHeir::Estate { .. } | ToHeir::Connection { .. } => bail!("take over: out of order"),
        }
    }
}

fn only(mut fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    ensure!(fds.len() == 1, "take over: {} descriptors", fds.len());
    fds.pop().context("take over: no descriptor")
}

impl Estate {
    /// The listener the predecessor had for this.
    pub fn listener(&mut self, pool: &str, spec: &ListenSpec) -> Option<Listener> {
        let ours = |(owner, of, _): &(String, ListenSpec, Listener)| owner == pool && of == spec;
        let index = self.listeners.iter().position(ours)?;
        Some(self.listeners.remove(index).2)
    }

    /// Everything else the pool had.
    pub fn rest(&mut self, pool: &str) -> Vec<Listener> {
        let rest = self.listeners.extract_if(.., |(owner, ..)| owner == pool);
        rest.map(|(.., listener)| listener).collect()
    }

    pub fn generation(&self, pool: &str) -> u64 {
        let known = self.generations.iter().find(|(name, _)| name == pool);
        known.map_or(0, |(_, number)| *number)
    }
}

impl Fleet {
    /// Once everything serves: the predecessor may stop, and its connections come.
    pub fn tell_predecessor(&mut self) -> Result<()> {
        let serving = |pool: &Pool| pool.phase == Phase::Serving;
        if self.estate.is_none() || !self.pools.iter().all(serving) {
            return Ok(());
        }
        if let Some(socket) = &mut self.socket {
            socket.move_in()?;
        }
        let Some(estate) = self.estate.take() else { return Ok(()) };
        estate.channel.post(&FromHeir::Serving, vec![]).context("take over")?;
        self.output.log("took over from the host that ran");
        let names: Vec<String> = self.pools.iter().map(|pool| pool.config.name.clone()).collect();
        let Some(accepted) = self.pools.first().map(|pool| pool.links.accepted.clone()) else {
            return Ok(());
        };
        tokio::task::spawn_local(async move {
            while let Ok(Some((message, fds))) = estate.channel.recv().await {
                let ToHeir::Connection { pool, ends, read } = message else { continue };
                let pool = names.iter().position(|name| *name == pool).unwrap_or(0);
                let Ok(fd) = only(fds) else { continue };
                let connection = Accepted::again(fd, ends, read);
                if accepted.send((PoolId(pool), connection)).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}
