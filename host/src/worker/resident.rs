//! The resident instance: one for `lifecycle`, `message-handler` and `signal-handler`, called one
//! thing at a time, made anew after a trap.

use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower};

use super::context::{Live, Worker};
use super::failure::Failure;
use super::imports::bindings::cluster::messages::Message;
use super::imports::bindings::cluster::types::Signal;
use super::imports::ending;
use super::state::State;

pub enum Call {
    Start(oneshot::Sender<Result<(), String>>),
    Signal(Signal),
    Drain(oneshot::Sender<()>),
}

/// Where calls go; nowhere if the plugin exports nothing of the kind.
pub struct Resident(Option<mpsc::UnboundedSender<Call>>);

impl Resident {
    /// The receiver is for `serve`.
    pub fn new(wanted: bool) -> (Resident, mpsc::UnboundedReceiver<Call>) {
        let (calls, receiver) = mpsc::unbounded_channel();
        (Resident(wanted.then_some(calls)), receiver)
    }

    pub async fn start(&self) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        self.call(Call::Start(done));
        result.await.unwrap_or(Ok(()))
    }

    pub fn signal(&self, signal: Signal) {
        self.call(Call::Signal(signal));
    }

    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        self.call(Call::Drain(done));
        let _ = drained.await;
    }

    fn call(&self, call: Call) {
        if let Some(calls) = &self.0 {
            let _ = calls.send(call);
        }
    }
}

struct Living {
    store: Store<State>,
    instance: Instance,
    _live: Live,
}

pub async fn serve(worker: Rc<Worker>, mut calls: mpsc::UnboundedReceiver<Call>) {
    let mut living = None;
    loop {
        let next = tokio::select! {
            biased;
            call = calls.recv() => call.map(Next::Call),
            message = next_message(&worker) => Some(Next::Message(message)),
        };
        let Some(next) = next else { return };
        if let Err(failure) = answer(&worker, &mut living, next).await {
            worker.report(&failure);
            living = None;
        }
    }
}

enum Next {
    Call(Call),
    Message(Message),
}

/// Never ends for a plugin without a message handler, or once the line is over.
async fn next_message(worker: &Worker) -> Message {
    if let (Some(line), Some(_)) = (&worker.shared.line, worker.plugin.exports.on_message) {
        while !line.is_over() {
            line.wait_news().await;
            if let Ok(received) = line.receive() {
                let count = &worker.scoreboard.messages_received;
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return Message { body: received.body, request: received.request };
            }
        }
    }
    std::future::pending().await
}

async fn answer(
    worker: &Rc<Worker>,
    living: &mut Option<Living>,
    next: Next,
) -> Result<(), Failure> {
    let exports = worker.plugin.exports;
    match next {
        Next::Message(message) => {
            call::<_, ()>(worker, living, exports.on_message, (message,)).await?;
        }
        Next::Call(Call::Signal(signal)) => {
            call::<_, ()>(worker, living, exports.on_signal, (signal,)).await?;
        }
        Next::Call(Call::Drain(done)) => {
            call::<_, ()>(worker, living, exports.drain, ()).await?;
            let _ = done.send(());
        }
        Next::Call(Call::Start(done)) => {
            let result = start(worker, living, exports.start).await;
            let _ = done.send(result);
        }
    }
    Ok(())
}

async fn start(
    worker: &Rc<Worker>,
    living: &mut Option<Living>,
    export: Option<ComponentExportIndex>,
) -> Result<(), String> {
    match call::<_, (Result<(), String>,)>(worker, living, export, ()).await {
        Ok(Some((result,))) => result,
        Ok(None) => Ok(()),
        Err(failure) => Err(failure.reason().unwrap_or_else(|| format!("{failure:?}"))),
    }
}

/// `None` if the plugin has no such export, or the instance chose to end the process.
async fn call<P, R>(
    worker: &Rc<Worker>,
    living: &mut Option<Living>,
    export: Option<ComponentExportIndex>,
    params: P,
) -> Result<Option<R>, Failure>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let Some(export) = export else { return Ok(None) };
    if living.is_none() {
        *living = Some(revive(worker).await?);
    }
    let Some(Living { store, instance, .. }) = living else { return Ok(None) };
    store.set_epoch_deadline(super::epoch::TICKS_PER_TURN);
    let called = worker
        .in_turn(async {
            let function = instance.get_typed_func::<P, R>(&mut *store, export)?;
            function.call_async(&mut *store, params).await
        })
        .await;
    match called {
        Ok(returned) => Ok(Some(returned)),
        Err(error) if ending(&error).is_some() => {
            *living = None;
            Ok(None)
        }
        Err(error) => Err(worker.trapped(&error, store.data())),
    }
}

async fn revive(worker: &Rc<Worker>) -> Result<Living, Failure> {
    let live = worker.live.one_more().ok_or(Failure::Overload)?;
    let mut store = worker.plugin.store();
    let made = worker.in_turn(worker.plugin.pre.instantiate_async(&mut store)).await;
    let instance = made.map_err(|error| Failure::Instantiate(format!("{error:#}")))?;
    Ok(Living { store, instance, _live: live })
}
