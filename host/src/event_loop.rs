//! The event loop of a process: one thread, and everything it does is a task of it.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, LocalRuntime};

/// Runs `main` to its end, as one task among the others: what a runtime is given to block on it wakes
/// through the kernel, with two more system calls each time.
pub fn run<T: 'static>(
    runtime: &LocalRuntime,
    main: impl Future<Output = Result<T>> + 'static,
) -> Result<T> {
    let ended = runtime.block_on(async { tokio::task::spawn_local(main).await });
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Err(error).context("main task"),
    })
}

/// With everything the process may wait for.
pub fn build(builder: &mut Builder) -> Result<LocalRuntime> {
    builder.enable_all().build_local(Default::default()).context("start runtime")
}
