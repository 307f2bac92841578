//! The privileged parent: opens sockets, accepts, balances, supervises. One event loop; it never
//! parses what a client, a plugin or an artifact contains.

pub mod balance;

mod backoff;
mod bound;
mod cache;
mod child;
mod compile;
mod dispatch;
mod generation;
mod health;
mod lifecycle;
mod listen;
mod outbound;
mod output;
mod pool;
mod reload;
mod signals;
mod stop;
mod user;
mod workers;

use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::config::{AccessLog, Config};
use crate::ipc::message::FromWorker;
use crate::sys;
use crate::worker::settings::LogFormat;
use cache::Cache;
use child::End;
use compile::Compiler;

use bound::Bound;
use generation::Generation;
use output::{Output, Stream, Writer};
use pool::{Links, Phase, Pool};
use signals::Wish;

/// Accepted connections that may wait for the loop.
const ACCEPTED: usize = 64;

/// Numbers a worker; never reused in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What can happen, other than a new connection.
pub enum Event {
    Frame(WorkerId, FromWorker, Vec<OwnedFd>),
    Broken(WorkerId, String),
    /// It reads its channel again.
    CaughtUp(WorkerId),
    Exited(WorkerId, End),
    Overdue(WorkerId),
    Respawn(usize),
    ResolverGone,
    DrainOver(WorkerId),
    Compiled(u64, Result<Generation>),
    Recompiled(Result<Generation>),
    Healthy(WorkerId, Result<()>),
}

/// Runs the host until it is told to stop.
pub fn serve(config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start runtime")?;
    let (output, writer) = Output::start().context("start output")?;
    let result = LocalSet::new().block_on(&runtime, run(config, output));
    drop(runtime);
    Writer::finish(writer);
    result
}

async fn run(config: Config, output: Output) -> Result<()> {
    // Before anything can fail half-way: from here on a signal is an orderly end.
    let mut wishes = signals::listen()?;
    let max_held = raise_descriptor_limit();
    let bound = Bound::open(&config.pool)?;
    user::become_user(config.user.as_deref(), config.group.as_deref())?;
    sys::set_title("host: primary");
    let access_log = config.access_log.as_ref().map(|log| open_log(log, &output)).transpose()?;
    let cache = cache(&config, &output);
    let compiler = Rc::new(Compiler { cache, output: output.clone() });
    let artifact = tokio::select! {
        artifact = compiler.artifact(&config.pool.plugin) => artifact?,
        _ = wishes.recv() => return Ok(()),
    };
    let (events, mut happened) = mpsc::unbounded_channel();
    let (accepted, mut arrivals) = mpsc::channel(ACCEPTED);
    let links = Links { output: output.clone(), compiler, events, accepted, max_held };
    let mut pool = Pool::new(Generation::new(1, config.pool, artifact)?, bound, access_log, links);
    pool.start()?;
    while !pool.is_stopped() {
        tokio::select! {
            biased;
            Some(wish) = wishes.recv() => fulfil(&mut pool, wish),
            Some(event) = happened.recv() => react(&mut pool, event)?,
            Some(connection) = arrivals.recv() => pool.dispatch(connection),
        }
    }
    output.log("stopped");
    Ok(())
}

fn fulfil(pool: &mut Pool, wish: Wish) {
    match wish {
        Wish::Stop if pool.phase != Phase::Stopping => {
            pool.log("stopping");
            pool.stop();
        }
        Wish::Stop | Wish::StopNow => pool.kill("told to stop now"),
        Wish::Reload => pool.reload(Default::default()),
    }
}

fn react(pool: &mut Pool, event: Event) -> Result<()> {
    match event {
        Event::Frame(id, frame, fds) => pool.frame(id, frame, fds)?,
        Event::Broken(id, why) => pool.broken(id, &why),
        Event::CaughtUp(_) => pool.pass_on_waiting(),
        Event::Exited(id, end) => pool.exited(id, end)?,
        Event::Overdue(id) => pool.overdue(id),
        Event::Respawn(seat) => pool.respawn(seat),
        Event::ResolverGone => pool.resolver_gone(),
        Event::DrainOver(id) => pool.drain_over(id),
        Event::Compiled(number, generation) => pool.compiled(number, generation),
        Event::Recompiled(generation) => pool.recompiled(generation)?,
        Event::Healthy(id, health) => pool.healthy(id, health)?,
    }
    Ok(())
}

/// A cache that cannot be used costs time, not service.
fn cache(config: &Config, output: &Output) -> Option<Cache> {
    if !config.cache {
        return None;
    }
    Cache::open().inspect_err(|error| output.log(&format!("no artifact cache: {error:#}"))).ok()
}

/// The pipe workers write access-log lines to, and a task that moves them on.
fn open_log(log: &AccessLog, output: &Output) -> Result<(LogFormat, OwnedFd)> {
    let format = if log.json { LogFormat::Json } else { LogFormat::Combined };
    let (reader, writer) = child::pipe()?;
    match &log.file {
        None => {
            let relay = output.clone().relay(reader, Stream::Out, String::new());
            tokio::task::spawn_local(relay);
        }
        Some(path) => {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let file = file.with_context(|| format!("open {}", path.display()))?;
            tokio::task::spawn_local(output::append(reader, file, output.clone()));
        }
    }
    Ok((format, writer))
}

/// Connections in transit are held here: takes as many descriptors as we may have, and says how many
/// of them may go on connections.
fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX) / 4 * 3
}
