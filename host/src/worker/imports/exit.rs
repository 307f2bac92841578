//! How `process.exit` and `process.abort` leave the instance that called them: as an error no plugin
//! code can catch, which the caller of the instance tells from a trap.

use wasmtime_wasi::I32Exit;

/// Why an instance stopped on its own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole process ends, in order.
    Process,
    /// The process is about to abort.
    Abort,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Ending::Process => "the plugin called process.exit",
            Ending::Abort => "the plugin called process.abort",
        })
    }
}

impl std::error::Error for Ending {}

/// What a command's end makes its exit code; the error of one that trapped.
pub fn exit_code(result: wasmtime::Result<Result<(), ()>>) -> Result<u8, wasmtime::Error> {
    match result {
        Ok(Ok(())) => Ok(0),
        Ok(Err(())) => Ok(1),
        // Its code is on its way already.
        Err(error) if ending(&error).is_some() => Ok(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0 as u8),
            None => Err(error),
        },
    }
}

/// Whether this is no trap but an instance that wanted to end its process.
pub fn ending(error: &wasmtime::Error) -> Option<Ending> {
    error.downcast_ref::<Ending>().copied()
}
