//! Runs untrusted guest code. Holds no listener unless the policy gives it one, opens nothing:
//! whatever it needs arrives over its channel.

mod access_log;
mod body;
pub mod command;
mod command_run;
mod conn;
mod connector;
mod context;
mod control;
mod deadline;
mod epoch;
mod failure;
mod file_threads;
mod files;
mod granted;
mod http;
mod http02;
mod imports;
mod main_loop;
mod outbound;
mod pipe;
mod plugin;
pub mod program;
mod resident;
pub mod settings;
mod state;
mod stdio;
mod strict;
mod tcp;
mod ticket;
mod wasi02;
mod wasi03;

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::ipc::channel::Channel;
use crate::ipc::line::Pipes;
use crate::ipc::message::{FromWorker, ToWorker, brief};
use crate::sandbox::{Role, Walls};
use crate::scoreboard::Scoreboard;
use crate::{engine, event_loop, sandbox, sys};
use access_log::AccessLog;
use connector::ResolverLine;
use context::Worker;
use engine::EngineLimits;
use granted::Granted;
use imports::{Attached, Facts, Shared, Taker, Wish};
use outbound::Outbound;
use plugin::{Artifact, BadArtifact, Handler, Plugin};
use resident::{Call, Resident};
use settings::Settings;
use state::Template;
use stdio::Output;

/// What plugins have printed may take this long to be read at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Turns of tasks between two looks at the network. A client that never pauses keeps its task always
/// ready; with tokio's 61 it had, at each look, answered a thousand requests before anybody else's.
const TURNS_PER_LOOK: u32 = 8;

type ToPrimary = Channel<FromWorker, ToWorker>;

pub fn run(walls: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(file_threads::COUNT).thread_keep_alive(file_threads::STAY);
    builder.event_interval(TURNS_PER_LOOK);
    let runtime = event_loop::build(&mut builder)?;
    event_loop::run(&runtime, async move {
        let channel: Rc<ToPrimary> = Rc::new(Channel::new(sys::adopt_fd(sys::CHANNEL_FD)?)?);
        let (settings, fds) = match channel.recv().await? {
            Some((ToWorker::Setup(settings), fds)) => (*settings, fds),
            Some(_) => bail!("the first message was not the set-up"),
            None => return Ok(()),
        };
        let line = ResolverLine::default();
        match start(walls, settings, fds, &line).await {
            Ok((worker, wishes)) => {
                channel.post(&FromWorker::Ready, vec![])?;
                let code = control::follow(channel, worker, line, wishes).await?;
                std::process::exit(code.into())
            }
            Err(error) => {
                // The primary says it; here it would be said twice.
                let why = brief(&error);
                let failed = match error.downcast_ref::<BadArtifact>() {
                    Some(_) => FromWorker::BadArtifact(why),
                    None => FromWorker::Failed(why),
                };
                channel.post(&failed, vec![])?;
                channel.flush().await?;
                std::process::exit(1)
            }
        }
    })
}

/// The list of what a worker does before it is ready.
async fn start(
    walls: Walls,
    settings: Settings,
    fds: Vec<OwnedFd>,
    line: &ResolverLine,
) -> Result<Started> {
    let given = Given::sort(&settings, &walls, fds)?;
    let dirs = given.granted.preopens()?;
    let artifact = sys::FileMap::sealed(&given.artifact)?;
    let scoreboard = Scoreboard::map(&given.scoreboard)?;
    scoreboard.note_death()?;
    engine::open_page_map();
    let facts = Facts::gather(&walls);
    // From here on bytes are read that a hijacked compiler could have chosen.
    let entered = sandbox::enter(Role::Worker, walls, &given.granted.grants())?;
    let limits = &settings.limits;
    let limits =
        EngineLimits { max_instances: limits.max_instances, max_stack: limits.max_stack_size };
    let engine = engine::for_artifact(&artifact, &limits).context(BadArtifact)?;
    let (stdout, stderr) = (printed_to(1)?, printed_to(2)?);
    let outbound = settings.allow_outbound.then(|| Outbound::new(Box::new(line.clone())));
    let streams = (stdout, stderr.clone());
    let (shared, wishes) = Shared::new(
        imports::Role::Worker,
        settings.clone(),
        scoreboard,
        Attached { facts, messages: given.messages, program: None },
    )?;
    let template = Template::new(shared.clone(), dirs, outbound.map(Arc::new), streams);
    // By path, all workers share the pages.
    let from = match entered.artifact_path(&given.artifact) {
        Some(path) => Artifact::File(path),
        None => Artifact::Bytes(&artifact),
    };
    let plugin = Plugin::load(&engine, from, template, &settings.process).await;
    // What a plugin said before it failed belongs before the failure.
    if plugin.is_err() {
        stderr.flush(LAST_WORDS).await;
    }
    let plugin = plugin?;
    let log = match (settings.access_log, given.access_log) {
        (Some(format), Some(fd)) => Some(AccessLog::new(fd, format)?),
        _ => None,
    };
    let (resident, calls) = Resident::new(plugin.exports.any());
    let worker = Worker::new(settings, plugin, shared, resident, stderr, log)?;
    given.granted.ready().await?;
    sandbox::seal(entered)?;
    begin(&worker, calls).await?;
    Ok((worker, wishes))
}

type Started = (Rc<Worker>, UnboundedReceiver<Wish>);

/// What the plugin does before it is ready, and what runs beside its requests from then on.
async fn begin(worker: &Rc<Worker>, calls: UnboundedReceiver<Call>) -> Result<()> {
    let exports = worker.plugin.exports;
    let taker = match worker.plugin.handler {
        Handler::V02(_) | Handler::V03(_) => Taker::Http,
        Handler::Connections(_) => Taker::Handler,
        Handler::Accepts | Handler::Nobody => Taker::Accept,
    };
    worker.shared.listening.set_taker(taker);
    worker.shared.handles_messages.store(exports.on_message.is_some(), Relaxed);
    if exports.any() {
        tokio::task::spawn_local(resident::serve(worker.clone(), calls));
        let started = worker.resident.start().await;
        worker.flush_output(LAST_WORDS).await;
        started.map_err(anyhow::Error::msg).context("start the plugin")?;
    }
    if worker.plugin.main.is_some() {
        tokio::task::spawn_local(main_loop::run(worker.clone()));
    }
    Ok(())
}

/// The descriptors of the set-up message by their meaning.
struct Given {
    artifact: OwnedFd,
    scoreboard: OwnedFd,
    access_log: Option<OwnedFd>,
    messages: Option<Pipes>,
    granted: Granted,
}

impl Given {
    fn sort(settings: &Settings, walls: &Walls, fds: Vec<OwnedFd>) -> Result<Given> {
        let mut fds = fds.into_iter();
        let mut next = |what: &str| fds.next().with_context(|| format!("no {what} came along"));
        let artifact = next("artifact")?;
        let scoreboard = next("scoreboard")?;
        let access_log = settings.access_log.map(|_| next("access log")).transpose()?;
        let messages = settings.process.messages.then(|| Pipes::take(&mut fds)).transpose()?;
        let granted = Granted::sort(settings, walls, fds)?;
        Ok(Given { artifact, scoreboard, access_log, messages, granted })
    }
}

fn printed_to(number: i32) -> Result<Output> {
    let fd = sys::adopt_fd(number)?;
    Output::new(fd, Duration::ZERO).context("open output")
}
