//! The lines a child prints, collected as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Clone, Default)]
pub struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    /// Reads until the stream ends, in a thread of its own.
    pub fn follow(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                log.0.lines.lock().unwrap().push(text);
                log.0.grown.notify_all();
                line.clear();
            }
        })
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap().clone()
    }

    pub fn count(&self, part: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(part)).count()
    }

    /// The first line that `pick` takes, as soon as there is one; `None` at the deadline.
    pub fn find(&self, limit: Duration, pick: impl Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + limit;
        let mut lines = self.0.lines.lock().unwrap();
        let mut seen = 0;
        loop {
            if let Some(line) = lines[seen..].iter().find(|line| pick(line)) {
                return Some(line.clone());
            }
            seen = lines.len();
            let left = end.checked_duration_since(Instant::now())?;
            lines = self.0.grown.wait_timeout(lines, left).unwrap().0;
        }
    }
}
