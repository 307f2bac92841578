//! A process that starts programs: a Wasm program's zygote, or the launcher of the native ones. It is
//! told what to run, and tells what has become of it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::child::{self, Child};
use super::compile::one_line;
use super::output::Output;
use crate::ipc::channel::Channel;
use crate::ipc::child::{Ended, FromStarter, SpawnError, ToStarter, Words};
use crate::ipc::cluster::Status;
use crate::sys;

/// How long it may take to load.
const PATIENCE: Duration = Duration::from_secs(30);

type ToIt = Channel<ToStarter, FromStarter>;
type Runs = RefCell<HashMap<u64, Run>>;

pub struct Starter {
    channel: Rc<ToIt>,
    process: Rc<sys::Child>,
    runs: Rc<Runs>,
    next: Cell<u64>,
    dead: Rc<Cell<bool>>,
}

struct Run {
    started: Option<oneshot::Sender<Result<OwnedFd, SpawnError>>>,
    ended: oneshot::Sender<Ended>,
}

/// One run of a program; as long as it lasts, so does what started it.
pub struct Running {
    pub pidfd: OwnedFd,
    pub ended: oneshot::Receiver<Ended>,
    pub starter: Rc<Starter>,
}

/// What is run, and what it is connected to.
pub struct Wanted {
    pub program: u32,
    pub words: Words,
    pub connected: [bool; 3],
    pub ipc: bool,
    pub fds: Vec<OwnedFd>,
}

impl Starter {
    /// Returns when it has loaded what comes with the first message.
    pub async fn start(
        role: &str,
        name: &str,
        (first, fds): (ToStarter, Vec<OwnedFd>),
        output: &Output,
    ) -> Result<Rc<Starter>> {
        let mut child: Child<ToStarter, FromStarter> =
            child::start(role, &format!("host: {name}"), &format!("[{name}] "), output)?;
        child.channel.post(&first, fds)?;
        wait_ready(&mut child).await?;
        let starter = Starter {
            channel: Rc::new(child.channel),
            process: Rc::new(child.process),
            runs: Rc::default(),
            next: Cell::new(1),
            dead: Rc::default(),
        };
        starter.watch(child.relays);
        Ok(Rc::new(starter))
    }

    pub fn pid(&self) -> i32 {
        self.process.pid.as_raw()
    }

    pub fn is_dead(&self) -> bool {
        self.dead.get()
    }

    fn watch(&self, relays: Vec<JoinHandle<()>>) {
        let (channel, process) = (self.channel.clone(), self.process.clone());
        let (runs, dead) = (self.runs.clone(), self.dead.clone());
        tokio::task::spawn_local(async move {
            let frames = async {
                while let Ok(Some((frame, fds))) = channel.recv().await {
                    hear(&runs, frame, fds);
                }
            };
            tokio::select! {
                () = frames => {}
                _ = channel.pump(|| {}) => {}
            }
            dead.set(true);
            process.kill(Signal::SIGKILL);
            // Whatever it had started is killed with it.
            for (_, run) in runs.borrow_mut().drain() {
                let end = Ended { status: Status::Signal(libc::SIGKILL), limit: None };
                let _ = run.ended.send(end);
            }
            let _ = child::wait(&process.pidfd).await;
            futures::future::join_all(relays).await;
        });
    }

    pub async fn run(self: &Rc<Self>, wanted: Wanted) -> Result<Running, SpawnError> {
        let run = self.next.get();
        self.next.set(run + 1);
        let Wanted { program, words, connected, ipc, fds } = wanted;
        let (started, told) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        self.runs.borrow_mut().insert(run, Run { started: Some(started), ended: ending });
        let order = ToStarter::Run { run, program, connected, ipc, words: Box::new(words) };
        if let Err(error) = self.channel.post(&order, fds) {
            self.runs.borrow_mut().remove(&run);
            return Err(SpawnError::Failed(format!("{error:#}")));
        }
        let pidfd = match told.await {
            Ok(Ok(pidfd)) => pidfd,
            Ok(Err(why)) => return Err(why),
            Err(_) => return Err(SpawnError::Failed("the process that starts it died".into())),
        };
        Ok(Running { pidfd, ended, starter: self.clone() })
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.process.kill(Signal::SIGKILL);
    }
}

fn hear(runs: &Runs, frame: FromStarter, mut fds: Vec<OwnedFd>) {
    let mut runs = runs.borrow_mut();
    match frame {
        FromStarter::Ready | FromStarter::Failed(_) => {}
        FromStarter::Started { run } => {
            let started = runs.get_mut(&run).and_then(|run| run.started.take());
            if let (Some(started), Some(pidfd)) = (started, fds.pop()) {
                let _ = started.send(Ok(pidfd));
            }
        }
        FromStarter::Refused { run, why } => {
            if let Some(started) = runs.remove(&run).and_then(|run| run.started) {
                let _ = started.send(Err(why));
            }
        }
        FromStarter::Ended { run, end } => {
            if let Some(run) = runs.remove(&run) {
                let _ = run.ended.send(end);
            }
        }
    }
}

async fn wait_ready(child: &mut Child<ToStarter, FromStarter>) -> Result<()> {
    let answer = tokio::time::timeout(PATIENCE, child.channel.recv()).await;
    if !matches!(answer, Ok(Ok(Some((FromStarter::Ready, _))))) {
        child.process.kill(Signal::SIGKILL);
    }
    match answer.with_context(|| format!("not ready within {PATIENCE:?}"))?? {
        Some((FromStarter::Ready, _)) => Ok(()),
        Some((FromStarter::Failed(why), _)) => {
            child::wait(&child.process.pidfd).await?;
            bail!("{}", one_line(&why))
        }
        _ => bail!("{}", child::wait(&child.process.pidfd).await?.unmasked_by_code()),
    }
}
