//! Child processes, between those who spawn them and the primary, and between the primary and the
//! processes that start them. What a spawner says is untrusted; a starter runs no plugin code itself.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cluster::Status;
use crate::config::ProgramGrant;
use crate::worker::settings::Settings;

/// Arguments and environment of one start together, in bytes.
pub const MAX_WORDS: usize = 128 << 10;

/// From a worker or the primary program.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    Start { ticket: u64, spawn: Box<Spawn> },
    Signal { child: u64, signal: i32 },
}

/// To whoever ordered it.
#[derive(Debug, Serialize, Deserialize)]
pub enum News {
    /// Descriptors: the spawner's ends of stdin, stdout and stderr, as far as they are pipes, and the two
    /// of the message line, if any.
    Started {
        ticket: u64,
        child: u64,
        pid: u32,
    },
    Refused {
        ticket: u64,
        why: SpawnError,
    },
    Ended {
        child: u64,
        end: Ended,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    Pipe,
    Ignore,
    Inherit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spawn {
    pub program: String,
    pub words: Words,
    pub stdio: [Stdio; 3],
    pub ipc: bool,
    pub timeout_ns: Option<u64>,
    pub kill_signal: i32,
    pub detached: bool,
}

/// What the program itself gets to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: Option<String>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Words {
    /// What `execve` has to copy: text, its end, and a pointer each.
    pub fn size(&self) -> usize {
        let each = 1 + size_of::<usize>();
        let args = self.args.iter().map(|arg| arg.len() + each);
        let env = self.env.iter().map(|(name, value)| name.len() + 1 + value.len() + each);
        args.sum::<usize>() + env.sum::<usize>()
    }

    /// What no system call can say.
    pub fn fault(&self) -> Option<String> {
        let nul = |text: &String| text.contains('\0');
        if self.args.iter().any(nul) {
            return Some("an argument holds a NUL".into());
        }
        if self.cwd.iter().any(nul) {
            return Some("the directory holds a NUL".into());
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Some(format!("the variable's name {name:?} is empty or holds = or NUL"));
            }
            if nul(value) {
                return Some(format!("the variable {name} holds a NUL"));
            }
        }
        None
    }
}

/// A native program, as it was when it was granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Native {
    pub grant: ProgramGrant,
    /// Where the file really is.
    pub file: PathBuf,
    pub identity: Identity,
}

/// Tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    pub fn of(path: &Path) -> std::io::Result<Identity> {
        let meta = std::fs::metadata(path)?;
        Ok(Identity {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnError {
    NotGranted,
    Missing,
    Changed,
    Invalid(String),
    TooLarge(u64),
    NoSuchDirectory,
    NotPermitted,
    Unsupported,
    TooMany(u32),
    TooMuchMemory(u64),
    /// In nanoseconds.
    TooMuchCpuTime(u64),
    Stopping,
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    Timeout,
    MaxBuffer,
    CpuTime,
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub status: Status,
    pub limit: Option<Limit>,
}

/// To a process that starts programs.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToStarter {
    /// First message to a zygote. Descriptors: artifact, then one a granted directory.
    Wasm(Box<Settings>, Box<ProgramGrant>),
    /// First message to a launcher: the programs, the walls around each run, and whether Landlock can
    /// part processes that share a network namespace.
    Native(Vec<Native>, String, bool),
    /// Descriptors: to a zygote the scoreboard; then those of stdin, stdout and stderr that are
    /// connected to anything, and the two of the message line, if any.
    Run { run: u64, program: u32, connected: [bool; 3], ipc: bool, words: Box<Words> },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromStarter {
    Ready,
    Failed(String),
    /// Descriptor: a pidfd of the program's process.
    Started {
        run: u64,
    },
    Refused {
        run: u64,
        why: SpawnError,
    },
    Ended {
        run: u64,
        end: Ended,
    },
}
