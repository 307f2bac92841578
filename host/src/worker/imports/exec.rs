//! An `exec` under way: a task collects what the program prints, so that the instance can wait for
//! the whole of it, or for other things meanwhile.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Shared;
use super::child::{Child, Slot};
use crate::ipc::child::{Ended, Limit};
use crate::ipc::line::until;
use crate::worker::pipe;

type Collected = (Ended, Vec<u8>, Vec<u8>);

pub struct Execution {
    pub child: Arc<Child>,
    pub done: Arc<Done>,
    pub text: bool,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Default)]
pub struct Done {
    result: Mutex<(bool, Option<Collected>)>,
    news: Notify,
}

impl Done {
    fn set(&self, result: Collected) {
        *self.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = (true, Some(result));
        self.news.notify_waiters();
    }

    fn is_set(&self) -> bool {
        self.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    pub async fn wait(&self) {
        until(&self.news, || self.is_set()).await
    }
}

impl Execution {
    pub fn start(
        shared: Arc<Shared>,
        child: Arc<Child>,
        input: Option<Vec<u8>>,
        max_buffer: usize,
        kill_signal: i32,
        text: bool,
    ) -> Execution {
        let done: Arc<Done> = Arc::default();
        let (its, finished, whose) = (child.clone(), done.clone(), shared.clone());
        let task = tokio::spawn(async move {
            let (stdin, stdout, stderr) = {
                let mut streams = its.streams();
                let stdin = Slot::take(&mut streams.stdin).ok();
                (stdin, Slot::take(&mut streams.stdout).ok(), Slot::take(&mut streams.stderr).ok())
            };
            let too_much = || {
                if its.limit.set(Limit::MaxBuffer).is_ok() {
                    let _ = whose.children.signal(&its, kill_signal);
                }
            };
            let fed = async {
                if let (Some(stdin), Some(input)) = (stdin, input) {
                    stdin.write_all(&input).await;
                }
            };
            let both = async {
                let out = collect(stdout, max_buffer, &its, &too_much);
                tokio::join!(out, collect(stderr, max_buffer, &its, &too_much))
            };
            // A program need not read what it is fed.
            let (stdout, stderr) = tokio::select! {
                (both, ()) = async { tokio::join!(both, its.wait_end()) } => both,
                () = async { fed.await; std::future::pending().await } => return,
            };
            if let Some(end) = its.ended.get() {
                finished.set((*end, stdout, stderr));
            }
        });
        Execution { child, done, text, shared, task: task.abort_handle() }
    }

    pub fn take(&mut self) -> Option<Collected> {
        self.done.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).1.take()
    }
}

async fn collect(
    stream: Option<pipe::Input>,
    most: usize,
    child: &Child,
    too_much: &impl Fn(),
) -> Vec<u8> {
    let Some(mut stream) = stream else { return Vec::new() };
    let (bytes, more) = stream.read_to_end(most).await;
    if more {
        too_much();
        // A pipe that breaks would be another reason to end.
        child.wait_end().await;
    }
    bytes
}

impl Drop for Execution {
    fn drop(&mut self) {
        if !self.done.is_set() {
            self.task.abort();
            let _ = self.shared.children.signal(&self.child, libc::SIGKILL);
        }
    }
}
