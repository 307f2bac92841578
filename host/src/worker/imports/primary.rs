//! `host:cluster/primary`, linked for the primary program alone. It asks; the native primary judges
//! and does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;

use super::bindings::cluster::connections::{ConnectionError, Refused};
use super::bindings::cluster::messages::{MessageError, RequestId};
use super::bindings::cluster::primary::{
    ClusterError, ClusterSettings, Event as WitEvent, EventError, Host, SetupChanges, Skipped,
    WorkerInfo,
};
use super::bindings::cluster::types::Signal;
use super::ipc::{PendingReply, room, send_error};
use super::program::{Event, NoLine, Program};
use super::words::{cluster_error, cluster_settings, wit_event, worker_info};
use super::{Connection, Shared, address, pollable};
use crate::ipc::cluster::{Answer, Changes, FromProgram, Question};
use crate::ipc::line::{Line, SendError};
use crate::worker::state::State;

/// An environment of more is not passed on.
const MAX_ENVIRONMENT: usize = 128 << 10;

type Done<T = ()> = wasmtime::Result<Result<T, ClusterError>>;

impl State {
    fn program(&self) -> wasmtime::Result<(Arc<Shared>, &Program)> {
        let program = self.shared.program.as_ref();
        let program =
            program.ok_or_else(|| wasmtime::format_err!("this is not the primary program"))?;
        Ok((self.shared.clone(), program))
    }

    async fn ask(&mut self, question: Question) -> wasmtime::Result<Result<Answer, ClusterError>> {
        let shared = self.shared.clone();
        self.program()?;
        let answer = match &shared.program {
            Some(program) => program.ask(question).await,
            None => None,
        };
        Ok(match answer {
            Some(Answer::No(refusal)) => Err(cluster_error(refusal)),
            Some(answer) => Ok(answer),
            None => Err(ClusterError::Stopping),
        })
    }

    async fn order(&mut self, question: Question) -> Done {
        Ok(self.ask(question).await?.map(drop))
    }

    fn send_on<T>(
        &self,
        worker: u32,
        send: impl FnOnce(&Line) -> Result<T, SendError>,
    ) -> wasmtime::Result<Result<(Line, T), MessageError>> {
        let (shared, program) = self.program()?;
        Ok(match program.line(worker) {
            Err(NoLine::Unknown) => Err(MessageError::UnknownWorker),
            Err(NoLine::Gone) => Err(MessageError::WorkerGone),
            Err(NoLine::Closed) => Err(MessageError::NotConnected),
            Ok(line) => match send(&line) {
                Ok(sent) => {
                    shared.scoreboard.messages_sent.fetch_add(1, Relaxed);
                    Ok((line, sent))
                }
                Err(error) => Err(send_error(error, line.max())),
            },
        })
    }
}

fn check_environment(environment: &[(String, String)]) -> Result<(), ClusterError> {
    let invalid = |why: String| Err(ClusterError::Invalid(why));
    for (name, value) in environment {
        if name.is_empty() || name.contains('=') || name.contains('\0') {
            return invalid(format!("the name {name:?}"));
        }
        if value.contains('\0') {
            return invalid(format!("the value of {name}: it holds a NUL"));
        }
    }
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    match bytes > MAX_ENVIRONMENT {
        true => invalid(format!("{bytes} bytes of environment, the limit is {MAX_ENVIRONMENT}")),
        false => Ok(()),
    }
}

impl Host for State {
    async fn workers(&mut self) -> wasmtime::Result<Vec<WorkerInfo>> {
        let (shared, _) = self.program()?;
        let Ok(Answer::Workers(seen)) = self.ask(Question::Workers).await? else {
            return Ok(Vec::new());
        };
        let connected = shared.program.as_ref().map(Program::connected).unwrap_or_default();
        Ok(seen.into_iter().map(|seen| worker_info(seen, &connected)).collect())
    }

    async fn worker(&mut self, id: u32) -> Done<WorkerInfo> {
        let all = self.workers().await?;
        if let Some(found) = all.into_iter().find(|worker| worker.id == id) {
            return Ok(Ok(found));
        }
        Ok(Err(match self.program()?.1.line(id) {
            Err(NoLine::Unknown) => ClusterError::UnknownWorker,
            _ => ClusterError::WorkerGone,
        }))
    }

    async fn fork(&mut self, environment: Vec<(String, String)>) -> Done<u32> {
        if let Err(error) = check_environment(&environment) {
            return Ok(Err(error));
        }
        Ok(match self.ask(Question::Fork(environment)).await? {
            Ok(Answer::Forked(id)) => Ok(id),
            Ok(_) => Err(ClusterError::Stopping),
            Err(error) => Err(error),
        })
    }

    fn send(&mut self, to: u32, body: Vec<u8>) -> wasmtime::Result<Result<(), MessageError>> {
        Ok(self.send_on(to, |line| line.send(&body))?.map(drop))
    }

    fn subscribe_send(&mut self, to: u32) -> wasmtime::Result<Resource<DynPollable>> {
        let line = self.program()?.1.line(to).ok();
        room(&mut self.table, line)
    }

    fn broadcast(&mut self, body: Vec<u8>) -> wasmtime::Result<Result<Vec<Skipped>, MessageError>> {
        let max = self.shared.settings.process.max_message_size;
        if body.len() as u64 > max {
            return Ok(Err(MessageError::TooLarge(max)));
        }
        let mut skipped = Vec::new();
        for worker in self.program()?.1.connected() {
            if let Err(reason) = self.send_on(worker, |line| line.send(&body))? {
                skipped.push(Skipped { worker, reason });
            }
        }
        Ok(Ok(skipped))
    }

    fn request(
        &mut self,
        to: u32,
        body: Vec<u8>,
        timeout: Option<u64>,
    ) -> wasmtime::Result<Result<Resource<PendingReply>, MessageError>> {
        Ok(match self.send_on(to, |line| line.request(&body))? {
            Ok((line, id)) => Ok(self.table.push(PendingReply::new(line, id, timeout))?),
            Err(error) => Err(error),
        })
    }

    fn reply(
        &mut self,
        to: u32,
        request: RequestId,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<(), MessageError>> {
        Ok(self.send_on(to, |line| line.reply(request, &body))?.map(drop))
    }

    async fn kill(&mut self, worker: u32, signal: Signal) -> Done {
        let signal = address::signal_number(signal);
        self.order(Question::Kill { worker, signal }).await
    }

    async fn disconnect(&mut self, worker: Option<u32>) -> Done {
        let done = self.order(Question::Disconnect(worker)).await?;
        let (_, program) = self.program()?;
        if done.is_ok() {
            let lines = worker.map_or_else(|| program.connected(), |worker| vec![worker]);
            lines.into_iter().filter_map(|id| program.line(id).ok()).for_each(|line| line.end());
        }
        Ok(done)
    }

    fn settings(&mut self) -> wasmtime::Result<ClusterSettings> {
        let (shared, program) = self.program()?;
        Ok(cluster_settings(program.cluster(), shared.settings.process.max_message_size))
    }

    async fn setup(&mut self, changes: SetupChanges) -> Done {
        let SetupChanges { plugin, arguments, silent } = changes;
        self.order(Question::Setup(Changes { plugin, arguments, silent })).await
    }

    async fn reload(&mut self) -> Done {
        self.order(Question::Reload).await
    }

    fn next_event(&mut self) -> wasmtime::Result<Result<WitEvent, EventError>> {
        let (shared, program) = self.program()?;
        Ok(match program.next_event() {
            Ok(event) => {
                if let Event::Message(..) = event {
                    shared.scoreboard.messages_received.fetch_add(1, Relaxed);
                }
                Ok(wit_event(event, &shared))
            }
            Err(true) => Err(EventError::WouldBlock),
            Err(false) => Err(EventError::Closed),
        })
    }

    async fn blocking_next_event(
        &mut self,
        timeout: Option<u64>,
    ) -> wasmtime::Result<Result<WitEvent, EventError>> {
        let (shared, _) = self.program()?;
        let Some(program) = &shared.program else { return Ok(Err(EventError::Closed)) };
        let wait = async |state: &mut State| {
            loop {
                match Host::next_event(state) {
                    Ok(Err(EventError::WouldBlock)) => program.wait_event().await,
                    event => return event,
                }
            }
        };
        self.within(timeout, wait).await.unwrap_or(Ok(Err(EventError::WouldBlock)))
    }

    fn subscribe(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let (shared, _) = self.program()?;
        pollable(&mut self.table, move || {
            let shared = shared.clone();
            async move {
                if let Some(program) = &shared.program {
                    program.wait_event().await
                }
            }
        })
    }

    fn accept(&mut self) -> wasmtime::Result<Result<Resource<Connection>, ConnectionError>> {
        let (_, program) = self.program()?;
        if program.cluster().balance != "program" {
            return Ok(Err(ConnectionError::HandledElsewhere));
        }
        let popped = program.clients.pop();
        if popped.is_ok() {
            program.order(FromProgram::Accepted(1), vec![]);
        }
        self.accepted(popped)
    }

    fn subscribe_accept(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let clients = self.program()?.1.clients.clone();
        pollable(&mut self.table, move || {
            let clients = clients.clone();
            async move { clients.wait().await }
        })
    }

    fn hand_over(
        &mut self,
        worker: u32,
        connection: Resource<Connection>,
        state: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refused>> {
        self.program()?;
        self.give_away(connection, |shared, connection| {
            let program = shared.program.as_ref().ok_or(ConnectionError::NoSuccessor)?;
            program.line(worker).map_err(|_| ConnectionError::NoSuccessor)?;
            let (fd, mut ends) = connection.release(state)?;
            ends.state = ends.state.filter(|state| !state.is_empty());
            program.order(FromProgram::HandOver { worker, ends }, vec![fd]);
            Ok(())
        })
    }
}
