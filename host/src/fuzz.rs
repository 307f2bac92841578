//! What strangers' bytes are given to. Each target is fuzzed twice: by the unit tests, which mutate
//! good samples for a bounded time from a fixed seed and try what the corpus holds, and by libFuzzer,
//! which grows that corpus (`fuzz/`). `HOST_FUZZ_SECONDS` lets every unit test run longer; the seed
//! then is a new one each time, and is printed with the input if a target panics.

pub use crate::config::fuzz_file as config_file;
pub use crate::control::protocol::fuzz as control_line;
pub use crate::ipc::line::fuzz::run as ipc_line;
pub use crate::ipc::message::fuzz::{frames as ipc_frames, handover};

#[cfg(test)]
pub use mutate::{known, mutated};

#[cfg(test)]
mod mutate;
