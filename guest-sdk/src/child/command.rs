//! What to start, and how.

use std::{rc::Rc, time::Duration};

use super::{Child, ChildOutput, ChildStdin, Output, Stdio, raw, streams::Which};
use crate::{ipc::nanos, process::Signal, task};

/// Node's default.
const MAX_BUFFER: u64 = 200 * 1024;

/// A program to start, by the name it was granted under.
#[derive(Debug, Clone)]
pub struct Command {
    program: String,
    options: raw::SpawnOptions,
    max_buffer: u64,
    input: Option<Vec<u8>>,
}

/// Why a program was not started; see `spawn-error` in `wit/child-process.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the WIT variant, which documents them")]
pub enum SpawnError {
    NotGranted,
    ProgramMissing,
    ProgramChanged,
    Invalid(String),
    TooLarge(u64),
    NoSuchDirectory,
    NotPermitted,
    Unsupported,
    TooManyChildren(u32),
    TooMuchMemory(u64),
    TooMuchCpuTime(Duration),
    Stopping,
    Failed(String),
}

impl std::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotGranted => f.write_str("not granted"),
            Self::ProgramMissing => f.write_str("program missing"),
            Self::ProgramChanged => f.write_str("program changed"),
            Self::Invalid(why) => write!(f, "invalid: {why}"),
            Self::TooLarge(limit) => {
                write!(f, "too large: arguments and environment exceed {limit} bytes")
            }
            Self::NoSuchDirectory => f.write_str("no such directory"),
            Self::NotPermitted => f.write_str("not permitted"),
            Self::Unsupported => {
                f.write_str("unsupported: a native program has no message channel")
            }
            Self::TooManyChildren(limit) => write!(f, "too many children: the limit is {limit}"),
            Self::TooMuchMemory(limit) => write!(f, "too much memory: the limit is {limit} bytes"),
            Self::TooMuchCpuTime(limit) => {
                write!(f, "too much processor time: the limit is {limit:?} a minute")
            }
            Self::Stopping => f.write_str("stopping"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl std::error::Error for SpawnError {}

impl From<raw::SpawnError> for SpawnError {
    fn from(error: raw::SpawnError) -> Self {
        use raw::SpawnError as E;
        match error {
            E::NotGranted => Self::NotGranted,
            E::ProgramMissing => Self::ProgramMissing,
            E::ProgramChanged => Self::ProgramChanged,
            E::Invalid(why) => Self::Invalid(why),
            E::TooLarge(limit) => Self::TooLarge(limit),
            E::NoSuchDirectory => Self::NoSuchDirectory,
            E::NotPermitted => Self::NotPermitted,
            E::Unsupported => Self::Unsupported,
            E::TooManyChildren(limit) => Self::TooManyChildren(limit),
            E::TooMuchMemory(limit) => Self::TooMuchMemory(limit),
            E::TooMuchCpuTime(limit) => Self::TooMuchCpuTime(Duration::from_nanos(limit)),
            E::Stopping => Self::Stopping,
            E::Failed(why) => Self::Failed(why),
        }
    }
}

impl Command {
    /// With no arguments, the plugin's own environment, and pipes for all three streams.
    pub fn new(program: impl Into<String>) -> Self {
        let options = raw::SpawnOptions {
            arguments: Vec::new(),
            environment: None,
            cwd: None,
            stdin: Stdio::Pipe,
            stdout: Stdio::Pipe,
            stderr: Stdio::Pipe,
            ipc: false,
            timeout: None,
            kill_signal: Signal::Sigterm,
            detached: false,
            uid: None,
            gid: None,
        };
        Self { program: program.into(), options, max_buffer: MAX_BUFFER, input: None }
    }

    /// One argument more.
    pub fn arg(&mut self, arg: impl Into<String>) -> &mut Self {
        self.options.arguments.push(arg.into());
        self
    }

    /// Several arguments more.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl Into<String>>) -> &mut Self {
        self.options.arguments.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable beside those it has by then.
    pub fn env(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let name = name.into();
        let all = self.options.environment.get_or_insert_with(|| std::env::vars().collect());
        all.retain(|(known, _)| *known != name);
        all.push((name, value.into()));
        self
    }

    /// Takes all variables away.
    pub fn env_clear(&mut self) -> &mut Self {
        self.options.environment = Some(Vec::new());
        self
    }

    /// The directory it starts in, as it sees it.
    pub fn current_dir(&mut self, dir: impl Into<String>) -> &mut Self {
        self.options.cwd = Some(dir.into());
        self
    }

    /// Where it reads from.
    pub fn stdin(&mut self, stdio: Stdio) -> &mut Self {
        self.options.stdin = stdio;
        self
    }

    /// Where it writes to.
    pub fn stdout(&mut self, stdio: Stdio) -> &mut Self {
        self.options.stdout = stdio;
        self
    }

    /// Where it complains.
    pub fn stderr(&mut self, stdio: Stdio) -> &mut Self {
        self.options.stderr = stdio;
        self
    }

    /// How long it may take.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.options.timeout = Some(nanos(timeout));
        self
    }

    /// The signal it gets when a limit is hit, instead of SIGTERM.
    pub fn kill_signal(&mut self, signal: Signal) -> &mut Self {
        self.options.kill_signal = signal;
        self
    }

    /// It may outlive this worker, but not the host.
    pub fn detached(&mut self, detached: bool) -> &mut Self {
        self.options.detached = detached;
        self
    }

    /// Runs it as this user, if that was granted.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.options.uid = Some(uid);
        self
    }

    /// Runs it as this group, if that was granted.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.options.gid = Some(gid);
        self
    }

    /// What [`output`](Self::output) keeps of each stream, instead of 200 KiB.
    pub fn max_buffer(&mut self, bytes: u64) -> &mut Self {
        self.max_buffer = bytes;
        self
    }

    /// What [`output`](Self::output) gives it to read.
    pub fn input(&mut self, input: impl Into<Vec<u8>>) -> &mut Self {
        self.input = Some(input.into());
        self
    }

    /// Starts it.
    pub fn spawn(&mut self) -> Result<Child, SpawnError> {
        Ok(self.child(raw::spawn(&self.program, &self.options)?))
    }

    /// Starts it with a message channel; WebAssembly programs only.
    pub fn fork(&mut self) -> Result<Child, SpawnError> {
        Ok(self.child(raw::fork(&self.program, &self.options)?))
    }

    fn child(&self, child: raw::Child) -> Child {
        let raw = Rc::new(child);
        let piped = |stdio: Stdio| matches!(stdio, Stdio::Pipe);
        let output = |stdio, which| piped(stdio).then(|| ChildOutput::new(Rc::clone(&raw), which));
        Child {
            stdin: piped(self.options.stdin).then(|| ChildStdin::new(Rc::clone(&raw))),
            stdout: output(self.options.stdout, Which::Stdout),
            stderr: output(self.options.stderr, Which::Stderr),
            raw,
        }
    }

    /// Runs it to its end and collects what it prints.
    pub fn output(&mut self) -> Result<Output, SpawnError> {
        let execution = self.exec(raw::Encoding::Bytes)?;
        loop {
            match execution.take() {
                Some(output) => return Ok(output.into()),
                None => execution.subscribe().block(),
            }
        }
    }

    /// The same while other tasks run.
    pub async fn output_async(&mut self) -> Result<Output, SpawnError> {
        let execution = self.exec(raw::Encoding::Bytes)?;
        loop {
            match execution.take() {
                Some(output) => return Ok(output.into()),
                None => task::wait(&Rc::new(execution.subscribe())).await,
            }
        }
    }

    /// As [`output`](Self::output); what is no UTF-8 becomes U+FFFD.
    pub fn output_text(&mut self) -> Result<Output, SpawnError> {
        let execution = self.exec(raw::Encoding::Utf8)?;
        loop {
            match execution.take() {
                Some(output) => return Ok(output.into()),
                None => execution.subscribe().block(),
            }
        }
    }

    fn exec(&self, encoding: raw::Encoding) -> Result<raw::Execution, SpawnError> {
        let options = raw::ExecOptions {
            spawn: self.options.clone(),
            max_buffer: self.max_buffer,
            encoding,
            input: self.input.clone(),
        };
        Ok(raw::exec(&self.program, &options)?)
    }
}

impl From<raw::ExecOutput> for Output {
    fn from(output: raw::ExecOutput) -> Self {
        let bytes = |captured| match captured {
            raw::Captured::Text(text) => String::into_bytes(text),
            raw::Captured::Bytes(bytes) => bytes,
        };
        Self {
            exit: output.exit.into(),
            stdout: bytes(output.stdout),
            stderr: bytes(output.stderr),
        }
    }
}
