//! The side of a binary upgrade that goes: starts the new binary, gives it the listeners, and once it
//! serves, drains and passes every connection on. Until then nothing of our own has changed.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::accepted::Accepted;
use super::fleet::Fleet;
use super::listen::Listener;
use super::pool::{Phase, Pool};
use super::scale::Reply;
use super::service::Service;
use super::takeover::TAKE_OVER;
use crate::config::ListenSpec;
use crate::ipc::channel::{self, Channel};
use crate::ipc::message::{FromHeir, ToHeir};

/// The new binary may have to compile the plugin anew.
const DEADLINE: Duration = Duration::from_secs(120);

/// A successor on its way.
pub struct Heir {
    channel: Rc<Channel<ToHeir, FromHeir>>,
    process: Child,
    reply: Reply,
}

/// What the task that waits for a successor found out.
pub enum Progress {
    Serving,
    Failed(String),
}

impl Fleet {
    pub fn upgrade(&mut self, binary: &Path, reply: Reply) {
        match self.start_heir(binary) {
            Ok((channel, process)) => {
                self.output.log(&format!("upgrade: {} starting", binary.display()));
                self.heir = Some(Heir { channel, process, reply });
            }
            Err(error) => {
                self.output.log(&format!("upgrade: {error:#}"));
                let _ = reply.send(Err(format!("{error:#}")));
            }
        }
    }

    fn start_heir(&mut self, binary: &Path) -> Result<(Rc<Channel<ToHeir, FromHeir>>, Child)> {
        ensure!(self.heir.is_none(), "another upgrade is in progress");
        let steady = |pool: &Pool| pool.phase == Phase::Serving && !pool.reloads.is_active();
        ensure!(self.pools.iter().all(steady), "not every pool is serving, or one is reloading");
        let (ours, theirs) = channel::pair()?;
        let channel = Rc::new(Channel::new(ours)?);
        self.send_estate(&channel)?;
        let process = spawn(binary, &self.source.line, theirs)?;
        let (waiting, progress) = (channel.clone(), self.to_heir.clone());
        tokio::task::spawn_local(async move {
            let answer = tokio::select! {
                answer = tokio::time::timeout(DEADLINE, waiting.recv()) => answer,
                Err(error) = waiting.pump(|| {}) => Ok(Err(error)),
            };
            let _ = progress.send(match answer {
                Ok(Ok(Some((FromHeir::Serving, _)))) => Progress::Serving,
                Ok(Ok(None)) => Progress::Failed("it has ended; its log says why".into()),
                Ok(Err(error)) => Progress::Failed(format!("{error:#}")),
                Err(_) => Progress::Failed(format!("not serving within {DEADLINE:?}")),
            });
            let _ = waiting.pump(|| {}).await;
        });
        Ok((channel, process))
    }

    fn send_estate(&self, channel: &Channel<ToHeir, FromHeir>) -> Result<()> {
        let of_pool = |pool: &Pool| (pool.config.name.clone(), pool.current.number);
        channel.post(
            &ToHeir::Estate {
                socket: self.socket.as_ref().map(|s| (s.name.clone(), s.path().to_owned())),
                worker: self.pools.first().map_or(0, |pool| pool.links.numbers.get()),
                generations: self.pools.iter().map(of_pool).collect(),
            },
            vec![],
        )?;
        for pool in &self.pools {
            let seats = pool.seats.iter().map(|seat| &seat.listeners[..]);
            for listeners in std::iter::once(&pool.listeners[..]).chain(seats) {
                for (listener, spec) in listeners.iter().zip(pool.config.listen.iter().cycle()) {
                    send_listener(channel, &pool.config.name, listener, spec)?;
                }
            }
        }
        if let Some(metrics) = &self.metrics {
            channel.post(&ToHeir::Metrics, vec![metrics.try_clone()?])?;
        }
        channel.post(&ToHeir::Complete, vec![])
    }

    pub fn heir_progress(&mut self, progress: Progress) {
        let Some(mut heir) = self.heir.take() else { return };
        match progress {
            Progress::Serving => {
                let pid = heir.process.id();
                self.output.log(&format!("upgrade: process {pid} serves; draining"));
                let _ = heir.reply.send(Ok(format!("process {pid} took over")));
                Service::succeeded_by(pid);
                self.stop_metrics();
                self.pools.iter_mut().for_each(|pool| pool.hand_over(heir.channel.clone()));
                self.retire();
            }
            Progress::Failed(why) => {
                let _ = heir.process.kill();
                let _ = heir.process.wait();
                if let Some(socket) = &self.socket {
                    socket.remove_of(heir.process.id());
                }
                self.output.log(&format!("upgrade: {why}; going on as before"));
                let _ = heir.reply.send(Err(why));
            }
        }
    }
}

fn send_listener(
    channel: &Channel<ToHeir, FromHeir>,
    pool: &str,
    listener: &Listener,
    spec: &ListenSpec,
) -> Result<()> {
    let message = ToHeir::Listener {
        pool: pool.to_owned(),
        spec: spec.clone(),
        address: listener.address.clone(),
        unlink: listener.made().cloned(),
        inherited: listener.is_inherited(),
    };
    channel.post(&message, vec![listener.fd.try_clone().context("duplicate listener")?])
}

/// Starts the binary as this process was started, with the channel left open to it.
fn spawn(binary: &Path, line: &[OsString], channel: OwnedFd) -> Result<Child> {
    let shown = binary.display();
    fcntl(&channel, FcntlArg::F_SETFD(FdFlag::empty())).context("pass the channel on")?;
    Command::new(binary)
        .arg("serve")
        .args(line)
        .env(TAKE_OVER, channel.as_raw_fd().to_string())
        // The service manager expects its sign of life from whichever process is the main one.
        .env_remove("WATCHDOG_PID")
        .spawn()
        .with_context(|| format!("start {shown}"))
}

impl Pool {
    /// Stops accepting without closing what others still accept from, and drains towards the heir.
    fn hand_over(&mut self, heir: Rc<Channel<ToHeir, FromHeir>>) {
        self.heir = Some(heir);
        let own = self.seats.iter_mut().flat_map(|seat| &mut seat.listeners);
        self.listeners.iter_mut().chain(own).for_each(|listener| drop(listener.disown()));
        self.stop_towards_heir();
        self.pass_on_waiting();
    }

    /// Gives a connection to the next primary, or back if there is none.
    pub fn pass_to_heir(&mut self, connection: Accepted) -> Option<Accepted> {
        let heir = match &self.heir {
            Some(heir) => heir.clone(),
            None => return Some(connection),
        };
        let Ok(fd) = connection.fd.try_clone() else { return Some(connection) };
        let message = ToHeir::Connection {
            pool: self.config.name.clone(),
            ends: connection.ends.clone(),
            read: connection.read.clone(),
        };
        match heir.post(&message, vec![fd]) {
            Ok(()) => None,
            Err(error) => {
                self.log(&format!("pass a connection on: {error:#}"));
                self.heir = None;
                Some(connection)
            }
        }
    }

    /// Whether everything passed on has left this process.
    pub fn is_handed_over(&self) -> bool {
        self.heir.as_ref().is_none_or(|heir| heir.backlog() == 0)
    }
}
