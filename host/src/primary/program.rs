//! The primary program as the native primary sees it: a child that is told what happens and may ask
//! for things. It is untrusted, and nothing here waits for it.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::child::{self, Child, End};
use super::compile::{Artifact, one_line};
use super::confine::{self, enter_group, limit_mapped};
use super::files::{Asker, Files};
use super::generation::Generation;
use super::output::Output;
use super::{Event, Events};
use crate::ipc::channel::Channel;
use crate::ipc::cluster::{Changes, Cluster, FromProgram, ToProgram};
use crate::sandbox::cgroup::Group;
use crate::scoreboard::Scoreboard;
use crate::sys;
use crate::worker::settings::Settings;

/// A program that has closed its channel has this long to be gone.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// Its lines that are still in the pipes are waited for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Once everything is over it may take this long to end by itself.
pub const EPILOGUE: Duration = Duration::from_secs(2);
/// Connections it may have to hand out and has not accepted yet.
pub const MAX_OFFERED: u32 = 256;

type ToIt = Channel<ToProgram, FromProgram>;

pub struct Program {
    pub name: String,
    /// What it has set for the workers to come.
    pub changes: Changes,
    /// The plugin it has set for them.
    pub chosen: Option<Rc<Generation>>,
    /// Such a plugin is being loaded.
    pub setting_up: bool,
    /// What it wants to set once a reload is over.
    pub postponed: Vec<(u64, Changes)>,
    /// Connections offered and not accepted yet.
    pub offered: u32,
    /// It knows that nothing more will come.
    pub over: bool,
    /// The directories it is granted.
    _files: Rc<Files>,
    group: Option<Group>,
    memory_limit: u64,
    channel: Rc<ToIt>,
    process: Rc<sys::Child>,
}

/// What it is started with.
pub struct Start {
    pub artifact: Artifact,
    pub settings: Settings,
    pub files: Rc<Files>,
    pub cluster: Cluster,
    pub ready_timeout: Duration,
    pub memory_limit: u64,
}

pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Program {
    /// Returns when the program is loaded; from then on it runs.
    pub async fn start(what: Start, output: &Output, events: Events) -> Result<Program> {
        let name = what.settings.plugin.clone();
        let title = format!("host: primary program {name}");
        let mut child: Child<ToProgram, FromProgram> =
            child::start("primary-program", &title, "", output)?;
        let mut settings = what.settings;
        settings.process.pid = child.process.pid.as_raw() as u32;
        let (scoreboard, page) = Scoreboard::create()?;
        limit_mapped(&child.process, what.memory_limit, &settings.limits)?;
        // First, as it runs as soon as it is loaded.
        let pid = child.process.pid.as_raw();
        let group = enter_group("primary-program".to_owned(), what.memory_limit, pid).await;
        let start = ToProgram::Start(Box::new(settings), Box::new(what.cluster));
        let mut fds = vec![what.artifact.fd.try_clone()?, page];
        fds.extend(what.files.dirs()?);
        fds.extend(what.files.line()?);
        child.channel.post(&start, fds)?;
        wait_ready(&mut child, what.ready_timeout)
            .await
            .with_context(|| format!("start {name}"))?;
        let channel = Rc::new(child.channel);
        let asker: Rc<dyn Asker> = channel.clone();
        what.files.remember(Rc::downgrade(&asker));
        let program = Program {
            name,
            changes: Changes::default(),
            chosen: None,
            setting_up: false,
            postponed: Vec::new(),
            offered: 0,
            over: false,
            _files: what.files,
            group,
            memory_limit: what.memory_limit,
            channel,
            process: Rc::new(child.process),
        };
        program.watch(child.relays, scoreboard, events);
        Ok(program)
    }

    /// Turns what it does into events, its end last.
    fn watch(
        &self,
        relays: Vec<tokio::task::JoinHandle<()>>,
        scoreboard: Scoreboard,
        events: Events,
    ) {
        let (channel, process) = (self.channel.clone(), self.process.clone());
        tokio::task::spawn_local(async move {
            let frames = async {
                while let Ok(Some((frame, fds))) = channel.recv().await {
                    let _ = events.send(Event::Program(frame, fds));
                }
            };
            tokio::select! {
                _ = frames => {}
                _ = channel.pump(|| {}) => process.kill(Signal::SIGKILL),
            }
            let end = match tokio::time::timeout(LAST_BREATH, child::wait(&process.pidfd)).await {
                Ok(end) => end,
                Err(_) => {
                    process.kill(Signal::SIGKILL);
                    child::wait(&process.pidfd).await
                }
            };
            let words = futures::future::join_all(relays);
            let _ = tokio::time::timeout(LAST_WORDS, words).await;
            let end = end.unwrap_or(End::Code(-1)).unmasked(scoreboard.died_by.load(Relaxed));
            let _ = events.send(Event::ProgramExited(end));
        });
    }

    /// How it ended, in words.
    pub fn describe(&self, end: End) -> String {
        confine::describe(end, self.group.as_ref(), self.memory_limit)
    }

    /// A program that lets thousands of frames pile up is past help.
    pub fn tell(&self, message: &ToProgram, fds: Vec<OwnedFd>) -> Result<()> {
        self.channel.post(message, fds)
    }

    pub fn kill(&self) {
        self.process.kill(Signal::SIGKILL);
    }
}

async fn wait_ready(child: &mut Child<ToProgram, FromProgram>, limit: Duration) -> Result<()> {
    let answer = tokio::time::timeout(limit, child.channel.recv()).await;
    if !matches!(answer, Ok(Ok(Some((FromProgram::Ready, _))))) {
        child.process.kill(Signal::SIGKILL);
    }
    match answer.with_context(|| format!("not ready within {limit:?}"))?? {
        Some((FromProgram::Ready, _)) => Ok(()),
        Some((FromProgram::Failed(why), _)) => bail!("{}", one_line(&why)),
        _ => bail!("{}", child::wait(&child.process.pidfd).await?),
    }
}
