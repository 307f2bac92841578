//! A plugin's own main loop, `wasi:cli/run`: one instance for as long as it runs. Its end is the
//! worker's.

use std::rc::Rc;

use super::context::Worker;
use super::failure::Failure;
use super::imports::{Wish, exit_code};

/// What a trap in the loop ends the worker with.
const FAILED: u8 = 1;

pub async fn run(worker: Rc<Worker>) {
    let code = match main(&worker).await {
        Ok(code) => Some(code),
        Err(failure) => {
            worker.report(&failure);
            Some(FAILED)
        }
    };
    worker.main_ended();
    if let Some(code) = code {
        worker.shared.wish(Wish::Exit(code));
    }
}

async fn main(worker: &Rc<Worker>) -> Result<u8, Failure> {
    let Some(command) = &worker.plugin.main else { return Ok(0) };
    let _live = worker.live.one_more().ok_or(Failure::Overload)?;
    let mut store = worker.plugin.store();
    let result = worker.in_turn(command.run(&mut store)).await;
    exit_code(result).map_err(|error| worker.trapped(&error, store.data()))
}
