//! What the kernel bounds when everything else has failed to: a fork bomb, a descriptor bomb, a
//! file that grows, a core dump with secrets in it, a compiler that never ends.

use anyhow::Result;
use nix::sys::resource::Resource::*;

use super::Role;
use super::seccomp::Files;
use crate::sys::walls::limit;

/// Connections, artifact and the runtime's own.
const WORKER_DESCRIPTORS: u64 = 65_536;
/// The channel, standard streams, plugin, artifact and the runtime's own.
const COMPILER_DESCRIPTORS: u64 = 32;
/// Larger artifacts are a mistake or an attack.
const MAX_ARTIFACT: u64 = 2 << 30;
/// A plugin of 30 MB takes less than a gigabyte to compile.
const COMPILER_MEMORY: u64 = 4 << 30;
/// Seconds of CPU; the primary's own deadline is in wall-clock time.
const COMPILER_SECONDS: u64 = 300;

pub fn before_load(role: Role) -> Result<()> {
    limit(RLIMIT_CORE, 0)?;
    limit(RLIMIT_MEMLOCK, 0)?;
    match role {
        Role::Worker | Role::Zygote => limit(RLIMIT_NOFILE, WORKER_DESCRIPTORS),
        Role::Files => {
            limit(RLIMIT_NOFILE, WORKER_DESCRIPTORS)?;
            limit(RLIMIT_FSIZE, 0)
        }
        Role::Compiler => {
            limit(RLIMIT_NOFILE, COMPILER_DESCRIPTORS)?;
            limit(RLIMIT_NPROC, 0)?;
            limit(RLIMIT_FSIZE, MAX_ARTIFACT)?;
            limit(RLIMIT_DATA, COMPILER_MEMORY)?;
            limit(RLIMIT_CPU, COMPILER_SECONDS)
        }
    }
}

/// It starts threads, holds a socket a request, and writes no file.
pub fn for_resolver() -> Result<()> {
    limit(RLIMIT_CORE, 0)?;
    limit(RLIMIT_MEMLOCK, 0)?;
    limit(RLIMIT_FSIZE, 0)?;
    limit(RLIMIT_NOFILE, WORKER_DESCRIPTORS)
}

/// No process or thread more, and no file made larger unless files were granted. This comes after
/// loading, which starts a thread and writes memory images.
pub fn after_load(files: Files) -> Result<()> {
    limit(RLIMIT_NPROC, 0)?;
    match files {
        Files::Writable => Ok(()),
        Files::None | Files::ReadOnly => limit(RLIMIT_FSIZE, 0),
    }
}
