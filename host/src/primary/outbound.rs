//! Keeps the resolver process running while a pool grants outgoing connections, and connects each
//! worker to it.

use std::rc::Rc;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::child::{self, Child};
use super::output::Output;
use super::workers::Worker;
use super::{Event, Events};
use crate::ipc::channel::{self, Channel};
use crate::ipc::message::{ToResolver, ToWorker};
use crate::resolver::policy::Grant;
use crate::sys;

pub struct Resolver {
    channel: Rc<Channel<ToResolver, ()>>,
    process: Rc<sys::Child>,
}

impl Resolver {
    pub fn start(grants: &[Grant], output: &Output, events: &Events) -> Result<Resolver> {
        let child: Child<ToResolver, ()> =
            child::start("resolver", "host: resolver", "[resolver] ", output)?;
        child.channel.post(&ToResolver::Grants(grants.to_vec()), vec![])?;
        let resolver =
            Resolver { channel: Rc::new(child.channel), process: Rc::new(child.process) };
        let (channel, process) = (resolver.channel.clone(), resolver.process.clone());
        let events = events.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                _ = channel.pump(|| {}) => process.kill(Signal::SIGKILL),
                _ = channel.recv() => process.kill(Signal::SIGKILL),
                _ = child::wait(&process.pidfd) => {
                    let _ = events.send(Event::ResolverGone);
                    return;
                }
            }
            let _ = child::wait(&process.pidfd).await;
            let _ = events.send(Event::ResolverGone);
        });
        Ok(resolver)
    }

    /// What is allowed from now on.
    pub fn grant(&self, grants: &[Grant]) -> Result<()> {
        self.channel.post(&ToResolver::Grants(grants.to_vec()), vec![])
    }

    /// Gives a worker a line of its own to the resolver.
    pub fn connect(&self, worker: &Worker) -> Result<()> {
        let (ours, theirs) = channel::pair()?;
        self.channel.post(&ToResolver::Worker, vec![ours])?;
        worker.post(&ToWorker::Resolver, vec![theirs])
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.process.kill(Signal::SIGKILL);
    }
}
