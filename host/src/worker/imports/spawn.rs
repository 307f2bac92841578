//! `host:cluster/child-process`: spawn, fork and exec in the words of the interface.

use wasmtime::component::Resource;

use super::address;
use super::bindings::cluster::child_process::{
    self as wit, ChildExit, ExecOptions, Host, SpawnOptions,
};
use super::bindings::cluster::types::ExitStatus;
use super::exec::Execution;
use super::handle::Handle;
use crate::ipc::child::{Ended, Limit, MAX_WORDS, Spawn, SpawnError, Stdio, Words};
use crate::ipc::cluster::Status;
use crate::worker::state::State;

type Started<T> = wasmtime::Result<Result<Resource<T>, wit::SpawnError>>;

impl Host for State {
    async fn spawn(&mut self, program: String, options: SpawnOptions) -> Started<Handle> {
        let stdio = [options.stdin, options.stdout, options.stderr].map(stdio);
        let ipc = options.ipc;
        self.start_child(program, options, stdio, ipc).await
    }

    async fn fork(&mut self, program: String, options: SpawnOptions) -> Started<Handle> {
        let stdio = [options.stdin, options.stdout, options.stderr].map(stdio);
        self.start_child(program, options, stdio, true).await
    }

    async fn exec(&mut self, program: String, options: ExecOptions) -> Started<Execution> {
        let stdin = if options.input.is_some() { Stdio::Pipe } else { Stdio::Ignore };
        let stdio = [stdin, Stdio::Pipe, Stdio::Pipe];
        let started = match self.child_order(program, options.spawn, stdio, false) {
            Ok(spawn) => {
                let signal = spawn.kill_signal;
                let child = self.shared.children.start(spawn).await;
                child.map(|child| (child, signal))
            }
            Err(error) => Err(error),
        };
        let (child, signal) = match started {
            Ok(started) => started,
            Err(error) => return Ok(Err(spawn_error(error))),
        };
        // What is more than an instance can hold, it cannot be given either.
        let most = options.max_buffer.min(self.memory.max()) as usize;
        let text = options.encoding == wit::Encoding::Utf8;
        let execution =
            Execution::start(self.shared.clone(), child, options.input, most, signal, text);
        Ok(Ok(self.table.push(execution)?))
    }

    fn programs(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.shared.children.programs.clone())
    }
}

impl State {
    async fn start_child(
        &mut self,
        program: String,
        options: SpawnOptions,
        stdio: [Stdio; 3],
        ipc: bool,
    ) -> Started<Handle> {
        let started = match self.child_order(program, options, stdio, ipc) {
            Ok(spawn) => self.shared.children.start(spawn).await,
            Err(error) => Err(error),
        };
        Ok(match started {
            Ok(child) => Ok(self.table.push(Handle(child))?),
            Err(error) => Err(spawn_error(error)),
        })
    }

    /// Refuses what can be refused without asking.
    fn child_order(
        &self,
        program: String,
        options: SpawnOptions,
        stdio: [Stdio; 3],
        ipc: bool,
    ) -> Result<Spawn, SpawnError> {
        if !self.shared.children.programs.contains(&program) {
            return Err(SpawnError::NotGranted);
        }
        let env = options.environment.unwrap_or_else(|| self.shared.settings.env.clone());
        let SpawnOptions { arguments: args, cwd, uid, gid, .. } = options;
        let words = Words { args, env, cwd, uid, gid };
        if let Some(fault) = words.fault() {
            return Err(SpawnError::Invalid(fault));
        }
        if words.size() > MAX_WORDS {
            return Err(SpawnError::TooLarge(MAX_WORDS as u64));
        }
        let (timeout_ns, detached) = (options.timeout, options.detached);
        let kill_signal = address::signal_number(options.kill_signal);
        Ok(Spawn { program, words, stdio, ipc, timeout_ns, kill_signal, detached })
    }
}

fn stdio(stdio: wit::Stdio) -> Stdio {
    match stdio {
        wit::Stdio::Pipe => Stdio::Pipe,
        wit::Stdio::Ignore => Stdio::Ignore,
        wit::Stdio::Inherit => Stdio::Inherit,
    }
}

fn spawn_error(error: SpawnError) -> wit::SpawnError {
    match error {
        SpawnError::NotGranted => wit::SpawnError::NotGranted,
        SpawnError::Missing => wit::SpawnError::ProgramMissing,
        SpawnError::Changed => wit::SpawnError::ProgramChanged,
        SpawnError::Invalid(why) => wit::SpawnError::Invalid(why),
        SpawnError::TooLarge(limit) => wit::SpawnError::TooLarge(limit),
        SpawnError::NoSuchDirectory => wit::SpawnError::NoSuchDirectory,
        SpawnError::NotPermitted => wit::SpawnError::NotPermitted,
        SpawnError::Unsupported => wit::SpawnError::Unsupported,
        SpawnError::TooMany(limit) => wit::SpawnError::TooManyChildren(limit),
        SpawnError::TooMuchMemory(limit) => wit::SpawnError::TooMuchMemory(limit),
        SpawnError::TooMuchCpuTime(limit) => wit::SpawnError::TooMuchCpuTime(limit),
        SpawnError::Stopping => wit::SpawnError::Stopping,
        SpawnError::Failed(why) => wit::SpawnError::Failed(why),
    }
}

pub fn child_exit(end: Ended) -> ChildExit {
    let status = match end.status {
        Status::Code(code) => ExitStatus::Code(code),
        Status::Signal(number) => match address::signal(number) {
            Some(signal) => ExitStatus::Signal(signal),
            None => ExitStatus::RealtimeSignal(number as u8),
        },
    };
    let limit = end.limit.map(|limit| match limit {
        Limit::Timeout => wit::Limit::Timeout,
        Limit::MaxBuffer => wit::Limit::MaxBuffer,
        Limit::CpuTime => wit::Limit::CpuTime,
        Limit::Memory => wit::Limit::Memory,
    });
    ChildExit { status, limit }
}
