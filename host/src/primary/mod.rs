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
mod program;
mod recycle;
mod refusal;
mod reload;
mod reread;
mod scale;
mod service;
mod signals;
mod status;
mod steering;
mod stop;
mod takeover;
mod user;
mod watch;
mod watchdog;
mod workers;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::config::{Config, Control, Source};
use crate::ipc::cluster::FromProgram;
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
use program::Program;
use service::Service;
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
    Program(FromProgram, Vec<OwnedFd>),
    ProgramExited(End),
    ProgramOverdue,
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
    let max_held = raise_descriptor_limit();
    let mut estate = takeover::receive().await?;
    let bound = config.pools.iter().map(|pool| Bound::open(pool, estate.as_mut()));
    let bound: Vec<Bound> = bound.collect::<Result<_>>()?;
    let mut socket = open_control(&config, estate.as_ref(), &output)?;
    let metrics = open_metrics(&config, estate.as_mut())?;
    let user = user::become_user(config.user.as_deref(), config.group.as_deref())?;
    sys::set_title("host: primary");
    // The walls depend on who we are by now; said once everything serves.
    probe::decide(config.insecure).context("sandbox")?;
    let access_log = config.access_log.as_ref().map(|log| AccessLog::open(log, &output));
    let access_log = access_log.transpose()?.map(Rc::new);
    let compiler = Rc::new(Compiler { cache: cache(&config, &output), output: output.clone() });
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
        max_held,
    };
    let name = socket.as_ref().map_or(&config.name, |socket| &socket.name).clone();
    let reach = control::Reach { orders, news: shared.news.clone(), output: output.clone() };
    let pools = config.pools.clone();
    let mut fleet = Fleet::new(config, source, name, output.clone(), access_log.clone(), to_heir);
    for (pool, bound) in pools.into_iter().zip(bound) {
        let artifact = tokio::select! {
            artifact = compiler.artifact(&pool.plugin) => artifact?,
            _ = wishes.recv() => return Ok(()),
        };
        let links = shared.of(PoolId(fleet.pools.len()), &pool.name);
        let number = estate.as_ref().map_or(0, |estate| estate.generation(&pool.name)) + 1;
        let first = Generation::new(number, pool, artifact)?;
        let mut pool = Pool::new(first, bound, access_log.clone(), links);
        if let Some(path) = pool.config.primary.clone() {
            tokio::select! {
                program = start_program(&pool, &path) => pool.program = Some(program?),
                _ = wishes.recv() => return Ok(()),
            }
        }
        fleet.pools.push(pool);
    }
    if let Some(estate) = &estate {
        shared.numbers.set(estate.worker);
    }
    if let Some(listener) = metrics {
        fleet.serve_metrics(listener, &reach.orders)?;
    }
    if let Some(socket) = &mut socket {
        socket.give_to(user);
        tokio::task::spawn_local(control::serve(socket.take_listener()?, reach));
    }
    fleet.socket = socket;
    fleet.estate = estate;
    fleet.start()?;
    let mut queues = Queues { wishes, happened, arrivals, wanted, heir };
    queues.follow(&mut fleet).await?;
    let failure = fleet.pools.iter_mut().find_map(|pool| pool.failure.take());
    drop(fleet);
    if let Some(log) = access_log.and_then(Rc::into_inner) {
        log.finish().await;
    }
    output.log("stopped");
    tokio::time::sleep(LAST_ANSWERS).await;
    match failure {
        Some(failure) => bail!(failure),
        None => Ok(()),
    }
}

/// It is there before the first worker, so that it misses nothing.
async fn start_program(pool: &Pool, path: &Path) -> Result<Program> {
    let artifact = pool.links.compiler.artifact(path).await?;
    let Links { output, events, .. } = &pool.links;
    Program::start(pool.program_start(path, artifact), output, events.clone()).await
}

/// What clients of the control socket have been told may take this long to leave.
const LAST_ANSWERS: Duration = Duration::from_millis(2);

/// Everything the event loop hears of, the most urgent first.
struct Queues {
    wishes: mpsc::UnboundedReceiver<signals::Wish>,
    happened: mpsc::UnboundedReceiver<(PoolId, Event)>,
    heir: mpsc::UnboundedReceiver<handover::Progress>,
    arrivals: mpsc::Receiver<(PoolId, Accepted)>,
    wanted: mpsc::Receiver<control::Wanted>,
}

impl Queues {
    async fn follow(&mut self, fleet: &mut Fleet) -> Result<()> {
        let mut service = Service::new();
        let mut heartbeat = service.heartbeat();
        while !fleet.is_stopped() {
            tokio::select! {
                biased;
                Some(wish) = self.wishes.recv() => fleet.fulfil(wish),
                Some((pool, event)) = self.happened.recv() => fleet.react(pool, event)?,
                Some(progress) = self.heir.recv() => fleet.heir_progress(progress),
                Some((pool, connection)) = self.arrivals.recv() => fleet.dispatch(pool, connection),
                Some(wanted) = self.wanted.recv() => fleet.obey(wanted),
                _ = next(&mut heartbeat) => service.beat(),
                // Nothing tells when the last connection has left for a successor.
                _ = tokio::time::sleep(LAST_ANSWERS), if fleet.only_hands_over() => {}
            }
            fleet.tell_predecessor()?;
            service.follow(fleet);
        }
        Ok(())
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
    let inherited = inherited.filter(|listener| listener.local_addr().ok() == Some(address));
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
