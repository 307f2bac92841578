//! One run of a Wasm program, in a fork of its zygote: attach what came along, seal, run, say the
//! last words, exit.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::LocalRuntime;
use tokio::sync::mpsc::UnboundedReceiver;

use super::command::Zygote;
use super::failure::Failure;
use super::imports::{Attached, Role, Shared, Wish, exit_code};
use super::pipe::{Input, Output};
use super::plugin::{Command, Exports, Handler, Plugin};
use super::settings::Settings;
use super::state::{Stdio, Template};
use super::{file_threads, files};
use crate::ipc::child::Words;
use crate::ipc::line::Pipes;
use crate::sandbox::{self, Entered};
use crate::scoreboard::Scoreboard;
use crate::{event_loop, sys};

/// Messages that nobody takes keep an ending program this long.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// What a fork is to do.
pub struct Job {
    pub words: Words,
    scoreboard: OwnedFd,
    files: Option<OwnedFd>,
    stdio: [Option<OwnedFd>; 3],
    messages: Option<Pipes>,
}

impl Job {
    pub fn new(
        asks: bool,
        connected: [bool; 3],
        ipc: bool,
        words: Words,
        fds: Vec<OwnedFd>,
    ) -> Result<Job> {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| match wanted {
            true => fds.next().context("a descriptor is missing").map(Some),
            false => Ok(None),
        };
        let scoreboard = next(true)?.context("no scoreboard")?;
        let files = next(asks)?;
        let [stdin, stdout, stderr] = connected;
        let stdio = [next(stdin)?, next(stdout)?, next(stderr)?];
        let messages = ipc.then(|| Pipes::take(&mut fds)).transpose()?;
        Ok(Job { words, scoreboard, files, stdio, messages })
    }
}

/// Does not return.
pub fn run(zygote: Zygote, job: Job) -> Result<()> {
    sys::walls::die_with_parent()?;
    sys::set_title(&format!("host: program {}", zygote.grant.name));
    runtime()?.block_on(async {
        let (program, entered) = Program::new(zygote, job)?;
        if program.has_dirs {
            file_threads::start().await?;
        }
        sandbox::seal(entered)?;
        let code = program.run().await;
        // What there is to free the kernel frees faster.
        sys::exit_now(code.into())
    })
}

pub fn runtime() -> Result<LocalRuntime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(file_threads::COUNT).thread_keep_alive(file_threads::STAY);
    event_loop::build(&mut builder)
}

struct Program {
    plugin: Plugin,
    command: Command,
    shared: Arc<Shared>,
    wishes: UnboundedReceiver<Wish>,
    outputs: Vec<Output>,
    stderr: Option<Output>,
    has_dirs: bool,
}

impl Program {
    fn new(mut zygote: Zygote, job: Job) -> Result<(Program, Entered)> {
        let world = zygote.take_world(&job.words).context("no such directory")?;
        let Zygote { engine, command, settings, grant, facts, null, entered, .. } = zygote;
        let has_dirs = !settings.dirs.is_empty();
        sys::walls::limit_processor_time(grant.limits.cpu)?;
        let settings = Settings { env: job.words.env, args: job.words.args, ..settings };
        let scoreboard = Scoreboard::map(&job.scoreboard)?;
        if let Some(line) = job.files {
            files::connect(line);
        }
        let attached = Attached { facts, messages: job.messages, program: None };
        let (shared, wishes) = Shared::new(Role::Program, settings, scoreboard, attached)?;
        let [stdin, stdout, stderr] = job.stdio;
        let stdin = stdin.map(Input::new).transpose().context("open stdin")?;
        let output = |fd: Option<OwnedFd>| fd.map(Output::new).transpose().context("open output");
        let (stdout, stderr) = (output(stdout)?, output(stderr)?);
        let outputs = stdout.iter().chain(&stderr).cloned().collect();
        let stdio = Stdio { stdin, stdout, stderr: stderr.clone() };
        let template = Arc::new(Template::for_program(shared.clone(), world, stdio, null)?);
        let (pre, handler) = (command.pre().clone(), Handler::Nobody);
        let plugin =
            Plugin { engine, handler, main: None, pre, exports: Exports::default(), template };
        let program = Program { plugin, command, shared, wishes, outputs, stderr, has_dirs };
        Ok((program, entered))
    }

    /// Ends with the code of the process.
    async fn run(mut self) -> u8 {
        let code = self.main().await;
        let mut wished = None;
        while let Ok(wish) = self.wishes.try_recv() {
            match wish {
                Wish::Exit(code) => drop(wished.get_or_insert(code)),
                Wish::Abort => std::process::abort(),
                Wish::Leave | Wish::HandBack { .. } => {}
            }
        }
        for output in &self.outputs {
            output.flush_all().await;
        }
        if let Some(line) = &self.shared.line {
            let _ = tokio::time::timeout(LAST_MESSAGES, line.wait_sent()).await;
        }
        wished.unwrap_or(code)
    }

    async fn main(&self) -> u8 {
        let mut store = self.plugin.store();
        let code = match exit_code(self.command.run(&mut store).await) {
            Ok(code) => code,
            Err(error) => {
                let refused = store.data().memory.refused;
                if refused {
                    self.shared.scoreboard.memory_refused.store(1, Relaxed);
                }
                let reason = Failure::trapped(&error, refused).reason().unwrap_or_default();
                if let Some(stderr) = &self.stderr {
                    stderr.write_all(format!("{reason}\n").as_bytes()).await;
                }
                1
            }
        };
        // It goes with the process.
        std::mem::forget(store);
        code
    }
}
