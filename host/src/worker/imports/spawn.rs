//! `host:cluster/child-process`: spawn, fork and exec in the words of the interface.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};

use super::bindings::cluster::child_process::{
    self as wit, Captured, ChildEvent, ChildEventError, ChildExit, ExecOptions, ExecOutput, Host,
    HostChild, HostExecution, SignalError, SpawnOptions, StreamError,
};
use super::bindings::cluster::messages::{Message, MessageError, RequestId};
use super::bindings::cluster::types::{ExitStatus, Signal};
use super::child::{Child, Event, Slot};
use super::exec::Execution;
use super::ipc::{PendingReply, message, send_error};
use super::{address, pollable, ready_now};
use crate::ipc::child::{Ended, Limit, MAX_WORDS, Spawn, SpawnError, Stdio, Words};
use crate::ipc::cluster::Status;
use crate::ipc::line::{Line, Nothing, SendError};
use crate::worker::pipe;
use crate::worker::state::State;

/// What plugin code holds of a child.
pub struct Handle(pub Arc<Child>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

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

    fn child(&self, child: &Resource<Handle>) -> wasmtime::Result<Arc<Child>> {
        Ok(self.table.get(child)?.0.clone())
    }

    fn output_of(
        &mut self,
        child: &Resource<Handle>,
        slot: impl FnOnce(&Child) -> Result<pipe::Input, bool>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, StreamError>> {
        let child = self.child(child)?;
        Ok(match slot(&child) {
            Ok(stream) => {
                let stream: DynInputStream = Box::new(child.counted(stream));
                Ok(self.table.push(stream)?)
            }
            Err(taken) => Err(not_there(taken)),
        })
    }

    fn sent_to<T>(&self, result: Result<T, SendError>) -> Result<T, MessageError> {
        let max = self.shared.settings.process.max_message_size as usize;
        result.map_err(|error| send_error(error, max))
    }
}

impl HostChild for State {
    fn pid(&mut self, child: Resource<Handle>) -> wasmtime::Result<u32> {
        Ok(self.child(&child)?.pid)
    }

    fn connected(&mut self, child: Resource<Handle>) -> wasmtime::Result<bool> {
        Ok(self.child(&child)?.line.as_ref().is_some_and(Line::connected))
    }

    fn stdin(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, StreamError>> {
        let child = self.child(&child)?;
        let stream = child.streams().stdin.take();
        Ok(match stream {
            Ok(stream) => {
                let stream: DynOutputStream = Box::new(stream);
                Ok(self.table.push(stream)?)
            }
            Err(taken) => Err(not_there(taken)),
        })
    }

    fn stdout(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, StreamError>> {
        self.output_of(&child, |child| Slot::take(&mut child.streams().stdout))
    }

    fn stderr(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, StreamError>> {
        self.output_of(&child, |child| Slot::take(&mut child.streams().stderr))
    }

    fn kill(
        &mut self,
        child: Resource<Handle>,
        signal: Signal,
    ) -> wasmtime::Result<Result<(), SignalError>> {
        let child = self.child(&child)?;
        let told = self.shared.children.signal(&child, address::signal_number(signal));
        Ok(told.map_err(|()| SignalError::Ended))
    }

    fn send(
        &mut self,
        child: Resource<Handle>,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        let child = self.child(&child)?;
        Ok(line(&child).and_then(|line| self.sent_to(line.send(&body))))
    }

    fn subscribe_send(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let Some(line) = self.child(&child)?.line.clone() else {
            return ready_now(&mut self.table);
        };
        pollable(&mut self.table, move || {
            let line = line.clone();
            async move { line.wait_room().await }
        })
    }

    fn receive(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Result<Message, MessageError>> {
        let child = self.child(&child)?;
        let received = line(&child).and_then(|line| {
            line.receive().map_err(|nothing| match nothing {
                Nothing::Yet => MessageError::WouldBlock,
                Nothing::Ever => MessageError::NotConnected,
            })
        });
        Ok(received.map(message))
    }

    fn subscribe_receive(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let Some(line) = self.child(&child)?.line.clone() else {
            return ready_now(&mut self.table);
        };
        pollable(&mut self.table, move || {
            let line = line.clone();
            async move { line.wait_news().await }
        })
    }

    fn request(
        &mut self,
        child: Resource<Handle>,
        body: Vec<u8>,
        timeout: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<PendingReply>, MessageError>> {
        let child = self.child(&child)?;
        let sent = line(&child).and_then(|line| {
            let id = self.sent_to(line.request(&body))?;
            Ok(PendingReply::new(line.clone(), id, timeout))
        });
        Ok(match sent {
            Ok(pending) => Ok(self.table.push(pending)?),
            Err(error) => Err(error),
        })
    }

    fn reply(
        &mut self,
        child: Resource<Handle>,
        request: RequestId,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        let child = self.child(&child)?;
        Ok(line(&child).and_then(|line| self.sent_to(line.reply(request, &body))))
    }

    fn disconnect(&mut self, child: Resource<Handle>) -> wasmtime::Result<()> {
        if let Some(line) = &self.child(&child)?.line {
            line.end();
        }
        Ok(())
    }

    fn exit_status(&mut self, child: Resource<Handle>) -> wasmtime::Result<Option<ChildExit>> {
        Ok(self.child(&child)?.ended.get().map(|end| child_exit(*end)))
    }

    fn subscribe_exit(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let child = self.child(&child)?;
        pollable(&mut self.table, move || {
            let child = child.clone();
            async move { child.wait_end().await }
        })
    }

    fn next_event(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Result<ChildEvent, ChildEventError>> {
        Ok(match self.child(&child)?.next_event() {
            Ok(Event::Message(received)) => Ok(ChildEvent::Message(message(received))),
            Ok(Event::Disconnect) => Ok(ChildEvent::Disconnect),
            Ok(Event::Exit(end)) => Ok(ChildEvent::Exit(child_exit(end))),
            Ok(Event::Close) => Ok(ChildEvent::Close),
            Err(true) => Err(ChildEventError::WouldBlock),
            Err(false) => Err(ChildEventError::Closed),
        })
    }

    fn subscribe(&mut self, child: Resource<Handle>) -> wasmtime::Result<Resource<DynPollable>> {
        let child = self.child(&child)?;
        pollable(&mut self.table, move || {
            let child = child.clone();
            async move { child.wait_event().await }
        })
    }

    fn drop(&mut self, child: Resource<Handle>) -> wasmtime::Result<()> {
        self.table.delete(child)?;
        Ok(())
    }
}

impl HostExecution for State {
    fn pid(&mut self, execution: Resource<Execution>) -> wasmtime::Result<u32> {
        Ok(self.table.get(&execution)?.child.pid)
    }

    fn kill(
        &mut self,
        execution: Resource<Execution>,
        signal: Signal,
    ) -> wasmtime::Result<Result<(), SignalError>> {
        let child = self.table.get(&execution)?.child.clone();
        let told = self.shared.children.signal(&child, address::signal_number(signal));
        Ok(told.map_err(|()| SignalError::Ended))
    }

    fn subscribe(
        &mut self,
        execution: Resource<Execution>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let done = self.table.get(&execution)?.done.clone();
        pollable(&mut self.table, move || {
            let done = done.clone();
            async move { done.wait().await }
        })
    }

    fn take(&mut self, execution: Resource<Execution>) -> wasmtime::Result<Option<ExecOutput>> {
        let execution = self.table.get_mut(&execution)?;
        let Some((end, stdout, stderr)) = execution.take() else { return Ok(None) };
        let captured = |bytes: Vec<u8>| match execution.text {
            true => Captured::Text(String::from_utf8_lossy(&bytes).into_owned()),
            false => Captured::Bytes(bytes),
        };
        let (stdout, stderr) = (captured(stdout), captured(stderr));
        Ok(Some(ExecOutput { exit: child_exit(end), stdout, stderr }))
    }

    fn drop(&mut self, execution: Resource<Execution>) -> wasmtime::Result<()> {
        self.table.delete(execution)?;
        Ok(())
    }
}

fn line(child: &Child) -> Result<&Line, MessageError> {
    child.line.as_ref().ok_or(MessageError::NotConnected)
}

fn not_there(taken: bool) -> StreamError {
    if taken { StreamError::AlreadyTaken } else { StreamError::NotPiped }
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
        SpawnError::Stopping => wit::SpawnError::Stopping,
        SpawnError::Failed(why) => wit::SpawnError::Failed(why),
    }
}

fn child_exit(end: Ended) -> ChildExit {
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
