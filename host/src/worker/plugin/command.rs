//! `wasi:cli/run` of either version: a main loop, a primary program, a program that is started.

use anyhow::Result;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi::{p2, p3};

use super::serving::has_export;
use crate::worker::state::State;

const V02: &str = "wasi:cli/run@0.2";
const V03: &str = "wasi:cli/run@0.3";

#[derive(Clone, Copy)]
pub enum Version {
    V02,
    V03,
}

impl Version {
    /// Of both the newer one; `None` of a component that is no command.
    pub fn of(component: &Component) -> Option<Version> {
        let exports = |name| has_export(component, name);
        exports(V03).then_some(Version::V03).or_else(|| exports(V02).then_some(Version::V02))
    }
}

/// The way in, ready to be instantiated.
pub enum Command {
    V02(p2::bindings::CommandPre<State>),
    V03(p3::bindings::CommandPre<State>),
}

impl Command {
    pub fn new(version: Version, pre: &InstancePre<State>) -> Result<Command> {
        let pre = pre.clone();
        Ok(match version {
            Version::V02 => Command::V02(p2::bindings::CommandPre::new(pre)?),
            Version::V03 => Command::V03(p3::bindings::CommandPre::new(pre)?),
        })
    }

    pub fn pre(&self) -> &InstancePre<State> {
        match self {
            Command::V02(pre) => pre.instance_pre(),
            Command::V03(pre) => pre.instance_pre(),
        }
    }

    /// One instance, from its start to its end.
    pub async fn run(&self, store: &mut Store<State>) -> wasmtime::Result<Result<(), ()>> {
        match self {
            Command::V02(pre) => {
                let command = pre.instantiate_async(&mut *store).await?;
                command.wasi_cli_run().call_run(store).await
            }
            Command::V03(pre) => {
                let command = pre.instantiate_async(&mut *store).await?;
                let run = async |store: &_| command.wasi_cli_run().call_run(store).await;
                store.run_concurrent(run).await?
            }
        }
    }
}
