//! Runs untrusted guest code. Holds no listener unless the policy gives it one, opens nothing.

pub mod settings;

use anyhow::{Context, Result};

use crate::ipc::channel::Channel;
use crate::ipc::message::{FromWorker, ToWorker};
use crate::sys;

pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let channel: Channel<FromWorker, ToWorker> = Channel::new(sys::adopt_fd(sys::CHANNEL_FD)?)?;
        let (_setup, _fds) = channel.recv().await?.context("primary is gone")?;
        channel.post(&FromWorker::Ready, vec![])?;
        while let Some((_m, _)) = channel.recv().await? {}
        Ok(())
    })
}
