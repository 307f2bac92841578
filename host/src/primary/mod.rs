//! The privileged parent: opens sockets, accepts, balances, supervises. One event loop; it never
//! parses what a client, a plugin or an artifact contains.

pub mod balance;

mod access_log;
mod backoff;
mod bound;
mod cache;
mod child;
mod compile;
mod control;
mod dispatch;
mod exposition;
mod fleet;
mod generation;
mod handover;
mod health;
mod lifecycle;
mod listen;
mod metrics;
mod news;
pub mod once;
mod outbound;
mod output;
mod pool;
mod recycle;
mod reload;
mod reread;
mod scale;
mod service;
mod signals;
mod status;
mod stop;
mod takeover;
mod user;
mod watch;
mod watchdog;
mod workers;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::config::{Config, Control, Source};
use crate::ipc::message::FromWorker;
use crate::sandbox::probe;
use crate::sys;
use access_log::AccessLog;
use bound::Bound;
use cache::Cache;
use child::End;
use compile::Compiler;
use fleet::Fleet;
use generation::Generation;
use listen::Accepted;
use news::News;
use output::{Output, Writer};
use pool::{Links, Pool};
use service::Service;
use signals::Wish;
use takeover::Estate;

pub use listen::Address;
pub use takeover::TAKE_OVER;

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

/// Numbers a pool: its place in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolId(pub usize);

/// What can happen in a pool, other than a new connection.
pub enum Event {
    Frame(WorkerId, FromWorker, Vec<OwnedFd>),
    Broken(WorkerId, String),
    Disconnected(WorkerId),
    /// It reads its channel again.
    CaughtUp,
    Exited(WorkerId, End),
    Overdue(WorkerId),
    Respawn(usize),
    ResolverGone,
    DrainOver(WorkerId),
    Compiled(u64, Result<Generation>),
    Recompiled(Result<Generation>),
    Healthy(WorkerId, Result<()>),
    Inspect,
    FileChanged,
}

/// Where one pool's tasks send what happened; clones share the queue.
#[derive(Clone)]
pub struct Events {
    pub pool: PoolId,
    pub queue: mpsc::UnboundedSender<(PoolId, Event)>,
}

/// Nobody listens any more: the host is about to end.
#[derive(Debug)]
pub struct Gone;

impl Events {
    pub fn send(&self, event: Event) -> Result<(), Gone> {
        self.queue.send((self.pool, event)).map_err(|_| Gone)
    }
}

/// Runs the host until it is told to stop.
pub fn serve(config: Config, source: Source) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start runtime")?;
    let (output, writer) = Output::start().context("start output")?;
    let result = LocalSet::new().block_on(&runtime, run(config, source, output));
    drop(runtime);
    Writer::finish(writer);
    result
}

async fn run(config: Config, source: Source, output: Output) -> Result<()> {
    // Before anything can fail half-way: from here on a signal is an orderly end.
    let mut wishes = signals::listen()?;
    let opened = Opened::by(&config, &output).await?;
    sys::set_title("host: primary");
    // The walls depend on who we are by now; said once everything serves.
    probe::decide(config.insecure).context("sandbox")?;
    let (mut fleet, mut queues) = tokio::select! {
        assembled = assemble(config, source, &output, opened) => assembled?,
        _ = wishes.recv() => return Ok(()),
    };
    fleet.start()?;
    queues.follow(&mut wishes, &mut fleet).await?;
    if let Some(log) = fleet.dismantle() {
        log.finish().await;
    }
    output.log("stopped");
    tokio::time::sleep(LAST_ANSWERS).await;
    Ok(())
}

/// What is opened while we still are who we were started as.
struct Opened {
    estate: Option<Estate>,
    bound: Vec<Bound>,
    socket: Option<control::Socket>,
    metrics: Option<std::net::TcpListener>,
    max_held: usize,
}

impl Opened {
    async fn by(config: &Config, output: &Output) -> Result<Opened> {
        let max_held = raise_descriptor_limit();
        let mut estate = takeover::receive().await?;
        let bound = config.pools.iter().map(|pool| Bound::open(pool, estate.as_mut()));
        let bound = bound.collect::<Result<_>>()?;
        let socket = open_control(config, estate.as_ref(), output)?;
        let metrics = open_metrics(config, estate.as_mut())?;
        let user = config.user.as_deref().map(user::find).transpose()?;
        if let (Some(socket), Some(user)) = (&socket, user) {
            socket.give_to(user);
        }
        user::become_user(config.user.as_deref(), config.group.as_deref())?;
        Ok(Opened { estate, bound, socket, metrics, max_held })
    }
}

/// Compiles every plugin and puts the pools together; nothing runs yet.
async fn assemble(
    config: Config,
    source: Source,
    output: &Output,
    mut opened: Opened,
) -> Result<(Fleet, Queues)> {
    let access_log = config.access_log.as_ref().map(|log| AccessLog::open(log, output));
    let access_log = access_log.transpose()?.map(Rc::new);
    let compiler = Rc::new(Compiler { cache: cache(&config, output), output: output.clone() });
    let (queue, happened) = mpsc::unbounded_channel();
    let (accepted, arrivals) = mpsc::channel(ACCEPTED);
    let (orders, wanted) = control::orders();
    let (to_heir, heir) = mpsc::unbounded_channel();
    let shared = Links {
        output: output.clone(),
        compiler: compiler.clone(),
        events: Events { pool: PoolId(0), queue },
        accepted,
        news: News::new(),
        numbers: Rc::default(),
        max_held: opened.max_held,
    };
    let estate = opened.estate.as_ref();
    shared.numbers.set(estate.map_or(0, |estate| estate.worker));
    let name = opened.socket.as_ref().map_or(&config.name, |socket| &socket.name).clone();
    let mut pools = Vec::new();
    for (pool, bound) in config.pools.iter().cloned().zip(opened.bound) {
        let links = shared.of(PoolId(pools.len()), &pool.name);
        let number = estate.map_or(0, |estate| estate.generation(&pool.name)) + 1;
        let artifact = compiler.artifact(&pool.plugin).await?;
        let first = Generation::new(number, pool, artifact)?;
        pools.push(Pool::new(first, bound, access_log.clone(), links));
    }
    let mut fleet = Fleet::new(config, source, name, output.clone(), access_log, to_heir);
    fleet.pools = pools;
    if let Some(listener) = opened.metrics {
        fleet.serve_metrics(listener, &orders)?;
    }
    if let Some(socket) = &mut opened.socket {
        let reach = control::Reach { orders, news: shared.news.clone(), output: output.clone() };
        tokio::task::spawn_local(control::serve(socket.take_listener()?, reach));
    }
    fleet.socket = opened.socket;
    fleet.estate = opened.estate;
    Ok((fleet, Queues { happened, heir, arrivals, wanted }))
}

/// What clients of the control socket have been told may take this long to leave.
const LAST_ANSWERS: Duration = Duration::from_millis(2);

/// What the event loop hears of besides signals, the most urgent first.
struct Queues {
    happened: mpsc::UnboundedReceiver<(PoolId, Event)>,
    heir: mpsc::UnboundedReceiver<handover::Progress>,
    arrivals: mpsc::Receiver<(PoolId, Accepted)>,
    wanted: mpsc::Receiver<control::Wanted>,
}

impl Queues {
    async fn follow(
        &mut self,
        wishes: &mut mpsc::UnboundedReceiver<Wish>,
        fleet: &mut Fleet,
    ) -> Result<()> {
        let mut service = Service::new();
        let mut heartbeat = service.heartbeat();
        while !fleet.is_stopped() {
            tokio::select! {
                biased;
                Some(wish) = wishes.recv() => {
                    self.pass_on_arrivals(fleet);
                    fleet.fulfil(wish);
                }
                Some((pool, event)) = self.happened.recv() => fleet.react(pool, event)?,
                Some(progress) = self.heir.recv() => fleet.heir_progress(progress),
                Some((pool, connection)) = self.arrivals.recv() => fleet.dispatch(pool, connection),
                Some(wanted) = self.wanted.recv() => {
                    self.pass_on_arrivals(fleet);
                    fleet.obey(wanted);
                }
                _ = next(&mut heartbeat) => service.beat(),
                // Nothing tells when the last connection has left for a successor.
                _ = tokio::time::sleep(LAST_ANSWERS), if fleet.only_hands_over() => {}
            }
            fleet.tell_predecessor()?;
            service.follow(fleet);
        }
        Ok(())
    }

    /// Before workers are told to drain: one that has nothing to do may be gone before a connection
    /// that was on its way to it.
    fn pass_on_arrivals(&mut self, fleet: &mut Fleet) {
        while let Ok((pool, connection)) = self.arrivals.try_recv() {
            fleet.dispatch(pool, connection);
        }
    }
}

async fn next(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

fn open_metrics(
    config: &Config,
    estate: Option<&mut Estate>,
) -> Result<Option<std::net::TcpListener>> {
    let Some(address) = config.metrics else { return Ok(None) };
    let inherited = estate.and_then(|estate| estate.metrics.take());
    let is_this = |bound: SocketAddr| {
        bound.ip() == address.ip() && [0, bound.port()].contains(&address.port())
    };
    let inherited = inherited.filter(|listener| listener.local_addr().is_ok_and(is_this));
    match inherited {
        Some(listener) => Ok(Some(listener)),
        None => metrics::bind(address).map(Some),
    }
}

/// A host nobody can talk to still serves, unless somebody asked for just this socket or name.
fn open_control(
    config: &Config,
    estate: Option<&Estate>,
    output: &Output,
) -> Result<Option<control::Socket>> {
    if let Some(estate) = estate {
        // Its owner still answers there; it is replaced when we serve.
        return estate
            .socket
            .clone()
            .map(|(name, path)| control::Socket::later(name, path))
            .transpose();
    }
    match control::Socket::open(config) {
        Err(error) if config.control == Control::Usual && !config.name_given => {
            output.log(&format!("no control socket: {error:#}"));
            Ok(None)
        }
        other => other.context("open control socket"),
    }
}

/// A cache that cannot be used costs time, not service.
fn cache(config: &Config, output: &Output) -> Option<Cache> {
    if !config.cache {
        return None;
    }
    Cache::open().inspect_err(|error| output.log(&format!("no artifact cache: {error:#}"))).ok()
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
