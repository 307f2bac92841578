//! Values that outlive a call.

use std::sync::{Mutex, OnceLock};

/// A value that a reused instance keeps between its calls: a cache, a parsed configuration, a counter.
///
/// Every instance of a worker has its own, and an instance ends when the host's policy says so
/// (`--max-instance-reuse-count` and the like) or it traps. What must be known to all workers goes to the primary
/// program through [`ipc`](crate::ipc).
///
/// ```no_run
/// use host::Local;
///
/// static CALLS: Local<u64> = Local::new(|| 0);
///
/// #[host::http]
/// fn count() -> String {
///     CALLS.with(|calls| {
///         *calls += 1;
///         format!("call {calls} of this instance\n")
///     })
/// }
/// ```
pub struct Local<T> {
    value: OnceLock<Mutex<T>>,
    make: fn() -> T,
}

impl<T> Local<T> {
    /// A value that `make` makes when it is first used.
    pub const fn new(make: fn() -> T) -> Self {
        Self { value: OnceLock::new(), make }
    }

    /// Lends the value to a function.
    ///
    /// # Panics
    ///
    /// When called from inside itself.
    pub fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        // An instance has one thread, so the lock can be held only further up in the same call.
        match self.value.get_or_init(|| Mutex::new((self.make)())).try_lock() {
            Ok(mut value) => use_it(&mut value),
            Err(_) => panic!("Local::with inside of itself"),
        }
    }
}
