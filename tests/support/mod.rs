//! What the integration tests share: starting the real binary, talking to it, watching its processes.
//! Nothing here sleeps to wait for something; it polls a condition until a deadline.

pub mod h2;
pub mod http;
pub mod load;
pub mod log;
pub mod once;
pub mod place;
pub mod process;
pub mod server;

pub use http::{Connection, Response, get};
pub use place::{Scratch, core_module, plugin, wat};
pub use server::Server;

use std::time::{Duration, Instant};

/// How long anything may take that should take no time. Generous: tests run side by side, and a
/// test that passes never waits this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until `condition` returns something.
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, condition)
}

pub fn wait_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A number once it has stopped changing: the same in so many looks in a row.
pub fn settled(mut number: impl FnMut() -> usize) -> usize {
    const LOOKS: u32 = 20;
    let (mut last, mut same) = (number(), 0);
    wait_for("it to settle", || {
        let now = number();
        same = if std::mem::replace(&mut last, now) == now { same + 1 } else { 0 };
        (same >= LOOKS).then_some(now)
    })
}
