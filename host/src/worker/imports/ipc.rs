//! `host:cluster/ipc` and the replies both sides wait for.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::DynPollable;

use super::bindings::cluster::ipc::Host;
use super::bindings::cluster::messages::{
    self, HostPendingReply, Message, MessageError, RequestId,
};
use super::{Wish, pollable, ready_now};
use crate::ipc::line::{Line, Nothing, Received, SendError};
use crate::worker::state::State;

type Waits = wasmtime::Result<Resource<DynPollable>>;

/// A reply that is awaited.
pub struct PendingReply {
    line: Line,
    id: u64,
    deadline: Option<Instant>,
    taken: bool,
}

impl PendingReply {
    pub fn new(line: Line, id: u64, timeout: Option<u64>) -> PendingReply {
        // So far away that it is never, and not beyond what can be counted.
        let longest = Duration::from_secs(100 * 365 * 86_400);
        let deadline =
            timeout.map(|nanos| Instant::now() + Duration::from_nanos(nanos).min(longest));
        PendingReply { line, id, deadline, taken: false }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.line.give_up(self.id);
    }
}

/// What the line says, in the words of the interface.
pub fn send_error(error: SendError, max: usize) -> MessageError {
    match error {
        SendError::Closed => MessageError::NotConnected,
        SendError::Full => MessageError::WouldBlock,
        SendError::TooLarge => MessageError::TooLarge(max as u64),
        SendError::NoSuchRequest => MessageError::NoSuchRequest,
    }
}

/// Ready when the line takes another message, or there is none.
pub fn room(table: &mut ResourceTable, line: Option<Line>) -> Waits {
    let Some(line) = line else { return ready_now(table) };
    pollable(table, move || {
        let line = line.clone();
        async move { line.wait_room().await }
    })
}

/// Ready when something has arrived on the line, or nothing ever will.
pub fn news(table: &mut ResourceTable, line: Option<Line>) -> Waits {
    let Some(line) = line else { return ready_now(table) };
    pollable(table, move || {
        let line = line.clone();
        async move { line.wait_news().await }
    })
}

/// The next message, or why there is none.
pub fn take(line: &Line) -> Result<Message, MessageError> {
    line.receive().map(message).map_err(|nothing| match nothing {
        Nothing::Yet => MessageError::WouldBlock,
        Nothing::Ever => MessageError::NotConnected,
    })
}

pub fn message(received: Received) -> Message {
    Message { body: received.body, request: received.request }
}

impl messages::Host for State {}

impl HostPendingReply for State {
    fn subscribe(
        &mut self,
        reply: Resource<PendingReply>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let PendingReply { line, id, deadline, .. } = self.table.get(&reply)?;
        let (line, id, deadline) = (line.clone(), *id, *deadline);
        pollable(&mut self.table, move || {
            let line = line.clone();
            async move {
                match deadline {
                    None => line.wait_reply(id).await,
                    Some(at) => drop(tokio::time::timeout_at(at, line.wait_reply(id)).await),
                }
            }
        })
    }

    fn take(
        &mut self,
        reply: Resource<PendingReply>,
    ) -> wasmtime::Result<Result<Vec<u8>, MessageError>> {
        let reply = self.table.get_mut(&reply)?;
        if reply.taken {
            return Ok(Err(MessageError::AlreadyTaken));
        }
        Ok(match reply.line.take_reply(reply.id) {
            Ok(body) => {
                reply.taken = true;
                Ok(body)
            }
            Err(Nothing::Ever) => Err(MessageError::NotConnected),
            Err(Nothing::Yet) if reply.is_late() => Err(MessageError::TimedOut),
            Err(Nothing::Yet) => Err(MessageError::WouldBlock),
        })
    }

    fn drop(&mut self, reply: Resource<PendingReply>) -> wasmtime::Result<()> {
        self.table.delete(reply)?;
        Ok(())
    }
}

impl State {
    fn line(&self) -> Result<&Line, MessageError> {
        self.shared.line.as_ref().ok_or(MessageError::NotConnected)
    }

    fn sent<T>(&self, result: Result<T, SendError>) -> Result<T, MessageError> {
        if result.is_ok() {
            self.shared.scoreboard.messages_sent.fetch_add(1, Relaxed);
        }
        result.map_err(|error| send_error(error, self.max_message_size()))
    }

    fn max_message_size(&self) -> usize {
        self.shared.settings.process.max_message_size as usize
    }
}

impl Host for State {
    fn connected(&mut self) -> wasmtime::Result<bool> {
        Ok(self.shared.line.as_ref().is_some_and(Line::connected))
    }

    fn max_message_size(&mut self) -> wasmtime::Result<u64> {
        Ok(self.shared.settings.process.max_message_size)
    }

    fn send(&mut self, body: Vec<u8>) -> wasmtime::Result<Result<(), MessageError>> {
        Ok(self.line().and_then(|line| self.sent(line.send(&body))))
    }

    async fn blocking_send(&mut self, body: Vec<u8>) -> wasmtime::Result<Result<(), MessageError>> {
        loop {
            match self.line().and_then(|line| self.sent(line.send(&body))) {
                Err(MessageError::WouldBlock) => {}
                sent => return Ok(sent),
            }
            if let Some(line) = self.shared.line.clone() {
                line.wait_room().await;
            }
        }
    }

    fn subscribe_send(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        room(&mut self.table, self.shared.line.clone())
    }

    fn receive(&mut self) -> wasmtime::Result<Result<Message, MessageError>> {
        if self.shared.handles_messages.load(Relaxed) {
            return Ok(Err(MessageError::HandledElsewhere));
        }
        let received = self.line().and_then(take);
        if received.is_ok() {
            self.shared.scoreboard.messages_received.fetch_add(1, Relaxed);
        }
        Ok(received)
    }

    async fn blocking_receive(
        &mut self,
        timeout: Option<u64>,
    ) -> wasmtime::Result<Result<Message, MessageError>> {
        let shared = self.shared.clone();
        let Some(line) = &shared.line else { return Host::receive(self) };
        let wait = async |state: &mut State| {
            loop {
                match Host::receive(state) {
                    Ok(Err(MessageError::WouldBlock)) => line.wait_news().await,
                    received => return received,
                }
            }
        };
        self.within(timeout, wait).await.unwrap_or(Ok(Err(MessageError::TimedOut)))
    }

    fn subscribe(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let elsewhere = self.shared.handles_messages.load(Relaxed);
        news(&mut self.table, self.shared.line.clone().filter(|_| !elsewhere))
    }

    fn request(
        &mut self,
        body: Vec<u8>,
        timeout: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<PendingReply>, MessageError>> {
        let sent = self.line().and_then(|line| {
            let id = self.sent(line.request(&body))?;
            Ok(PendingReply::new(line.clone(), id, timeout))
        });
        Ok(match sent {
            Ok(pending) => Ok(self.table.push(pending)?),
            Err(error) => Err(error),
        })
    }

    fn reply(
        &mut self,
        request: RequestId,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        Ok(self.line().and_then(|line| self.sent(line.reply(request, &body))))
    }

    fn disconnect(&mut self) -> wasmtime::Result<()> {
        if let Some(line) = &self.shared.line
            && line.connected()
        {
            line.end();
            self.shared.wish(Wish::Leave);
        }
        Ok(())
    }
}
