//! What plugins print: whole lines to the worker's own stdout and stderr, where the primary reads
//! them. Lines of two instances never mix; a reader that lags makes the plugin wait, not the worker
//! grow.

mod guest;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::unix::pipe;

pub use guest::GuestOutput;

/// What may wait for the reader of one descriptor; a plugin that prints more waits.
const CAPACITY: usize = 256 << 10;

/// One descriptor with a bounded buffer before it, written by a task of its own.
#[derive(Clone)]
pub struct Output(Arc<Shared>);

struct Shared {
    target: Target,
    /// How long to gather before a write; zero for what people watch.
    linger: Duration,
    state: Mutex<State>,
}

enum Target {
    Pipe(pipe::Sender),
    /// A file or a terminal: does not block for long.
    File(OwnedFd),
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    task_runs: bool,
    reader_gone: bool,
    lost_lines: u64,
    wakers: Vec<Waker>,
}

impl Output {
    /// Must be called inside the runtime. Makes a pipe non-blocking.
    pub fn new(fd: OwnedFd, linger: Duration) -> io::Result<Output> {
        let target = match is_pipe(&fd) {
            true => Target::Pipe(pipe::Sender::from_owned_fd(fd)?),
            false => Target::File(fd),
        };
        let state = Mutex::default();
        Ok(Output(Arc::new(Shared { target, linger, state })))
    }

    /// Adds one line that nobody waits for, such as a trap's reason or an access log entry; it is
    /// counted as lost where the reader is far behind.
    pub fn line(&self, line: &str) {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > 2 * CAPACITY {
            state.lost_lines += 1;
            return;
        }
        if state.lost_lines > 0 {
            let note = format!("host: {} lines lost, the reader is too slow\n", state.lost_lines);
            state.waiting.extend_from_slice(note.as_bytes());
            state.lost_lines = 0;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        state.waiting.push(b'\n');
        self.wake_task(state);
    }

    fn push(&self, lines: &[u8]) {
        let mut state = self.0.lock();
        // At once if it can be: a line is out before a message that the plugin sends after it.
        let written = if state.task_runs { 0 } else { self.0.write_now(lines) };
        if written == lines.len() {
            return;
        }
        state.waiting.extend_from_slice(&lines[written..]);
        self.wake_task(state);
    }

    fn room(&self) -> usize {
        let state = self.0.lock();
        if state.reader_gone { CAPACITY } else { CAPACITY.saturating_sub(state.waiting.len()) }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.reader_gone || state.waiting.len() < CAPACITY {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn wake_task(&self, mut state: MutexGuard<'_, State>) {
        if state.reader_gone {
            state.waiting.clear();
        } else if !state.task_runs {
            state.task_runs = true;
            tokio::spawn(self.clone().write_until_empty());
        }
    }

    /// Ends when everything is written, so an idle worker has no task here.
    async fn write_until_empty(self) {
        loop {
            if !self.0.linger.is_zero() && self.0.lock().waiting.len() < CAPACITY / 4 {
                tokio::time::sleep(self.0.linger).await;
            }
            let batch = {
                let mut state = self.0.lock();
                state.wakers.drain(..).for_each(Waker::wake);
                if state.waiting.is_empty() {
                    state.task_runs = false;
                    return;
                }
                std::mem::take(&mut state.waiting)
            };
            if self.0.write_all(&batch).await.is_err() {
                self.0.lock().reader_gone = true;
            }
        }
    }

    /// Waits, for at most `limit`, until everything said so far is written: the last thing a worker does.
    pub async fn flush(&self, limit: Duration) {
        let written = async {
            while self.0.lock().task_runs {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(limit, written).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How much the reader's pipe took.
    fn write_now(&self, lines: &[u8]) -> usize {
        match &self.target {
            // Without asking the runtime, which knows of room only after its next look at the pipe.
            Target::Pipe(pipe) if self.linger.is_zero() => {
                nix::unistd::write(pipe, lines).unwrap_or(0)
            }
            _ => 0,
        }
    }

    async fn write_all(&self, mut batch: &[u8]) -> io::Result<()> {
        while !batch.is_empty() {
            let written = match &self.target {
                Target::Pipe(pipe) => {
                    pipe.writable().await?;
                    match pipe.try_write(batch) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        result => result?,
                    }
                }
                Target::File(fd) => nix::unistd::write(fd, batch)?,
            };
            batch = &batch[written..];
        }
        Ok(())
    }
}

fn is_pipe(fd: &OwnedFd) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    fstat(fd)
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_out_before_anything_else_happens() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let output = Output::new(writer, Duration::ZERO).unwrap();
            output.push(b"first\n");
            nix::fcntl::fcntl(&reader, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
            let mut read = [0; 16];
            assert_eq!(nix::unistd::read(&reader, &mut read), Ok(6));
            assert_eq!(&read[..6], b"first\n");
        });
    }
}
