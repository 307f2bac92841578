//! The worker's process and the host around it; Node's `process`.
//!
//! ```no_run
//! let me = host::process::identity();
//! println!("worker {:?}, pid {}, generation {}", me.worker, me.pid, me.generation);
//! ```

use std::{rc::Rc, time::Duration};

use serde::Serialize;

use crate::{
    bindings::imports::host::cluster::{
        process::{self as raw, KillError, TitleError},
        types,
    },
    task,
};

pub use raw::Role;
pub use types::Signal;

/// Who is asking.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// `worker`, `primary-program` or `program`.
    pub role: &'static str,
    /// Process id as `ps` shows it.
    pub pid: u32,
    /// Process id of the host's primary.
    pub primary_pid: u32,
    /// Number of the worker; none outside of workers.
    pub worker: Option<u32>,
    /// 1 at start, one more with every reload.
    pub generation: u32,
}

/// Everything `host:cluster/process` tells, at one moment. Sizes in bytes, times in nanoseconds.
#[derive(Debug, Clone, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are named as the functions of the WIT interface, which documents them"
)]
pub struct Info {
    pub identity: Identity,
    pub versions: Vec<(String, String)>,
    pub config: Vec<(String, String)>,
    pub title: String,
    pub arch: String,
    pub platform: String,
    pub exec_path: String,
    pub exec_arguments: Vec<String>,
    pub arguments: Vec<String>,
    pub memory: Memory,
    pub cpu: Cpu,
    pub uptime: u64,
    pub hrtime: u64,
    pub credentials: Credentials,
}

/// Memory of the process, in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Resident set of the process.
    pub rss: u64,
    /// Linear memory of all its instances.
    pub guest: u64,
    /// Linear memory of this instance.
    pub instance: u64,
    /// What this instance may grow to.
    pub instance_limit: u64,
    /// What the process may use.
    pub process_limit: Option<u64>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Cpu {
    /// Spent in the process's own code.
    pub user: u64,
    /// Spent in the kernel for it.
    pub system: u64,
    /// Spent by this instance, if the host measures it.
    pub instance: Option<u64>,
}

/// User and groups.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names are POSIX's")]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub effective_uid: u32,
    pub effective_gid: u32,
    pub groups: Vec<u32>,
}

/// Everything at once, ready to be sent as JSON.
pub fn info() -> Info {
    let credentials = raw::credentials();
    Info {
        identity: identity(),
        versions: raw::versions(),
        config: raw::config(),
        title: raw::title(),
        arch: raw::arch(),
        platform: raw::platform(),
        exec_path: raw::exec_path(),
        exec_arguments: raw::exec_arguments(),
        arguments: raw::arguments(),
        memory: memory(),
        cpu: cpu(),
        uptime: raw::uptime(),
        hrtime: raw::hrtime(),
        credentials: Credentials {
            uid: credentials.uid,
            gid: credentials.gid,
            effective_uid: credentials.effective_uid,
            effective_gid: credentials.effective_gid,
            groups: credentials.groups,
        },
    }
}

/// Who is asking.
pub fn identity() -> Identity {
    let identity = raw::identity();
    Identity {
        role: match identity.role {
            Role::Worker => "worker",
            Role::PrimaryProgram => "primary-program",
            Role::Program => "program",
        },
        pid: identity.pid,
        primary_pid: identity.primary_pid,
        worker: identity.worker,
        generation: identity.generation,
    }
}

/// Memory of the process now.
pub fn memory() -> Memory {
    let memory = raw::memory_usage();
    Memory {
        rss: memory.rss,
        guest: memory.guest,
        instance: memory.instance,
        instance_limit: memory.instance_limit,
        process_limit: memory.process_limit,
    }
}

/// Processor time of the process until now.
pub fn cpu() -> Cpu {
    let cpu = raw::cpu_usage();
    Cpu { user: cpu.user, system: cpu.system, instance: cpu.instance }
}

/// Time since the process was started.
pub fn uptime() -> Duration {
    Duration::from_nanos(raw::uptime())
}

/// Sets what `ps` shows after the worker's number. At most 64 bytes without control characters.
pub fn set_title(title: &str) -> Result<(), TitleError> {
    raw::set_title(title)
}

/// Ends the worker with this code after what other instances have in flight; see `exit` in `wit/process.wit`.
/// A response that was already given to the host is sent in full.
pub fn exit(code: u8) -> ! {
    raw::exit(code);
    unreachable!("the host ends the instance in exit")
}

/// Ends the worker at once with SIGABRT.
pub fn abort() -> ! {
    raw::abort();
    unreachable!("the host ends the process in abort")
}

/// Sends a signal to a child process of this component, or from the primary program to a worker.
pub fn kill(pid: u32, signal: Signal) -> Result<(), KillError> {
    raw::kill(pid, signal)
}

/// True once the worker has been told to drain.
pub fn is_draining() -> bool {
    raw::draining()
}

/// Waits until the worker has been told to drain.
pub async fn draining() {
    if !raw::draining() {
        task::wait(&Rc::new(raw::subscribe_draining())).await;
    }
}

/// The usual name of a signal, such as `SIGTERM`.
pub fn signal_name(signal: Signal) -> String {
    let name = format!("{signal:?}");
    name.rsplit("::").next().unwrap_or(&name).to_uppercase()
}
