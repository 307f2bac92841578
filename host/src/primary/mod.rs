//! The privileged parent: opens sockets, accepts, balances, supervises. One event loop; it never
//! parses what a client, a plugin or an artifact contains.

pub mod balance;

mod accepted;
mod access_log;
mod backoff;
mod bound;
mod cache;
mod child;
mod children;
mod compile;
mod confine;
mod control;
mod crowd;
mod dispatch;
mod ended;
mod exposition;
mod files;
mod fleet;
mod generation;
mod handover;
mod health;
mod lifecycle;
mod links;
mod listen;
mod metrics;
mod news;
pub mod once;
mod opened;
mod outbound;
mod output;
mod plumbing;
mod pool;
mod processor;
mod program;
mod programs;
mod queues;
mod recycle;
mod refusal;
mod reload;
mod reread;
mod scale;
mod seat;
mod service;
mod setup;
mod share;
mod signals;
mod starter;
mod status;
mod steering;
mod stop;
mod takeover;
mod telling;
mod user;
mod walls;
mod watch;
mod watchdog;
mod workers;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::config::{Config, Source};
use crate::ipc::cluster::FromProgram;
use crate::ipc::message::FromWorker;
use crate::sandbox::{cgroup, probe};
use crate::{event_loop, sys};
use access_log::AccessLog;
use cache::Cache;
use child::End;
use compile::Compiler;
use files::Files;
use fleet::Fleet;
use generation::Generation;
use links::Links;
use news::News;
use opened::Opened;
use output::{Output, Writer};
use pool::Pool;
use program::Program;
use queues::{LAST_ANSWERS, Queues};

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
    /// Workers were full, and may not be any more.
    LookAgain,
    Exited(WorkerId, End),
    Overdue(WorkerId),
    Respawn(usize),
    ResolverGone,
    DrainOver(WorkerId),
    Compiled(u64, Result<Generation>),
    Recompiled(Result<Generation>),
    Confined(WorkerId, Option<cgroup::Group>),
    Healthy(WorkerId, Result<()>),
    Inspect,
    FileChanged,
    Child(u64, children::What),
    ChildrenOverdue,
    /// Beneath each process that starts programs.
    ProcessorTime(Vec<(i32, Duration)>),
    Program(FromProgram, Vec<OwnedFd>),
    SetUp(setup::SettingUp, Result<Generation>),
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
    let runtime = event_loop::build(&mut Builder::new_current_thread())?;
    let (output, writer) = Output::start().context("start output")?;
    let result = event_loop::run(&runtime, run(config, source, output));
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
    let _claim = cgroup::decide(config.cgroups);
    let (mut fleet, mut queues) = tokio::select! {
        assembled = assemble(config, source, &output, opened) => assembled?,
        _ = wishes.recv() => return Ok(()),
    };
    fleet.start()?;
    queues.follow(&mut wishes, &mut fleet).await?;
    let failure = fleet.pools.iter_mut().find_map(|pool| pool.failure.take());
    if let Some(log) = fleet.dismantle() {
        log.finish().await;
    }
    output.log("stopped");
    tokio::time::sleep(LAST_ANSWERS).await;
    match failure {
        Some(failure) => bail!(failure),
        None => Ok(()),
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
    let compiler = Rc::new(Compiler {
        cache: cache(&config, output),
        output: output.clone(),
        deadline: config.compile_timeout,
    });
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
        line: source.shown_line().into(),
        max_held: opened.max_held,
    };
    let estate = opened.estate.as_ref();
    shared.numbers.set(estate.map_or(0, |estate| estate.worker));
    let name = opened.socket.as_ref().map_or(&config.name, |socket| &socket.name).clone();
    let mut pools = Vec::new();
    for (pool, bound) in config.pools.iter().cloned().zip(opened.bound) {
        let links = shared.of(PoolId(pools.len()), &pool.name);
        let number = estate.map_or(0, |estate| estate.generation(&pool.name)) + 1;
        let first = Generation::load(&compiler, number, pool).await?;
        let mut pool = Pool::new(first, bound, access_log.clone(), links);
        if let Some(path) = pool.config.primary.clone() {
            pool.program = Some(start_program(&pool, &path).await?);
        }
        pools.push(pool);
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

/// It is there before the first worker, so that it misses nothing.
async fn start_program(pool: &Pool, path: &Path) -> Result<Program> {
    let artifact = pool.links.compiler.artifact(path).await?;
    let Links { output, events, .. } = &pool.links;
    let files = Files::grant("--primary-dir", &pool.config.primary_dirs, output).await?;
    Program::start(pool.program_start(path, artifact, files), output, events.clone()).await
}

/// A cache that cannot be used costs time, not service.
fn cache(config: &Config, output: &Output) -> Option<Cache> {
    if !config.cache {
        return None;
    }
    Cache::open().inspect_err(|error| output.log(&format!("no artifact cache: {error:#}"))).ok()
}
