//! What plugin code does with a child, and with an `exec` under way.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};

use super::bindings::cluster::child_process::{
    Captured, ChildEvent, ChildEventError, ChildExit, ExecOutput, HostChild, HostExecution,
    SignalError, StreamError,
};
use super::bindings::cluster::messages::{Message, MessageError, RequestId};
use super::bindings::cluster::types::Signal;
use super::child::{Child, Event, Slot};
use super::exec::Execution;
use super::ipc::{PendingReply, message, news, room, send_error, take};
use super::spawn::child_exit;
use super::{address, pollable};
use crate::ipc::line::{Line, SendError};
use crate::worker::pipe;
use crate::worker::state::State;

/// What plugin code holds of a child.
pub struct Handle(pub Arc<Child>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl State {
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
        let line = self.child(&child)?.line.clone();
        room(&mut self.table, line)
    }

    fn receive(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Result<Message, MessageError>> {
        let child = self.child(&child)?;
        Ok(line(&child).and_then(take))
    }

    fn subscribe_receive(
        &mut self,
        child: Resource<Handle>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let line = self.child(&child)?.line.clone();
        news(&mut self.table, line)
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
