//! The imports of `host:cluster`, served to plugin code: all arguments are hostile, and nothing here
//! does more than the settings of this worker allow.

mod address;
mod child;
mod connections;
mod exec;
mod exit;
mod handle;
mod ipc;
mod listening;
mod primary;
mod process;
pub mod program;
mod shared;
pub mod socket;
mod spawn;
mod words;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::state::State;

pub use address::signal;
pub use connections::Connection;
pub use exit::{Ending, ending, exit_code};
pub use listening::{Incoming, Taker};
pub use shared::{Attached, Drained, Facts, Role, Shared, Wish};

pub mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package host:all;
            world all {
                import host:cluster/process@0.1.0;
                import host:cluster/ipc@0.1.0;
                import host:cluster/connections@0.1.0;
                import host:cluster/child-process@0.1.0;
                import host:cluster/primary@0.1.0;
            }
        ",
        world: "host:all/all",
        imports: {
            "host:cluster/primary.workers": async | trappable,
            "host:cluster/primary.worker": async | trappable,
            "host:cluster/primary.fork": async | trappable,
            "host:cluster/primary.kill": async | trappable,
            "host:cluster/primary.disconnect": async | trappable,
            "host:cluster/primary.setup": async | trappable,
            "host:cluster/primary.reload": async | trappable,
            "host:cluster/primary.blocking-next-event": async | trappable,
            "host:cluster/ipc.blocking-send": async | trappable,
            "host:cluster/ipc.blocking-receive": async | trappable,
            "host:cluster/child-process.spawn": async | trappable,
            "host:cluster/child-process.fork": async | trappable,
            "host:cluster/child-process.exec": async | trappable,
            "host:cluster/process.kill": async | trappable,
            default: trappable,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "host:cluster/connections.listener": super::connections::Listener,
            "host:cluster/connections.connection": super::connections::Connection,
            "host:cluster/child-process.child": super::handle::Handle,
            "host:cluster/child-process.execution": super::exec::Execution,
            "host:cluster/messages.pending-reply": super::ipc::PendingReply,
        },
    });

    pub use self::host::cluster;
}

use bindings::cluster;

/// What every plugin may import.
pub fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    cluster::types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    cluster::messages::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    cluster::process::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    cluster::ipc::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    cluster::connections::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    cluster::child_process::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    Ok(())
}

/// What the primary program may import besides.
pub fn add_primary_to_linker(linker: &mut Linker<State>) -> Result<()> {
    add_to_linker(linker)?;
    cluster::primary::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    Ok(())
}

impl cluster::types::Host for State {}

impl State {
    /// Waits until an interface's `timeout`, in nanoseconds, is over, if there is one.
    async fn within<T>(
        &mut self,
        timeout: Option<u64>,
        wait: impl AsyncFnOnce(&mut State) -> T,
    ) -> Option<T> {
        let Some(nanos) = timeout else { return Some(wait(self).await) };
        let mut alarm = std::mem::take(&mut self.alarm);
        let result = alarm.within(Duration::from_nanos(nanos), wait(self)).await;
        self.alarm = alarm;
        result
    }
}

type Ready = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A condition a plugin waits for, made anew for every wait.
struct Until(Box<dyn Fn() -> Ready + Send>);

#[async_trait]
impl Pollable for Until {
    async fn ready(&mut self) {
        (self.0)().await
    }
}

/// A pollable of its own: it may outlive whatever it was made from.
fn pollable<F: Future<Output = ()> + Send + 'static>(
    table: &mut ResourceTable,
    condition: impl Fn() -> F + Send + 'static,
) -> wasmtime::Result<Resource<DynPollable>> {
    let until = table.push(Until(Box::new(move || Box::pin(condition()))))?;
    subscribe(table, until)
}

/// A pollable that is always ready.
fn ready_now(table: &mut ResourceTable) -> wasmtime::Result<Resource<DynPollable>> {
    pollable(table, || std::future::ready(()))
}
