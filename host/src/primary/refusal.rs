//! With `--workers manual` and no worker left, connections are refused, as under Node, until the
//! primary program forks again. The addresses stay ours meanwhile.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::sys::socket::{Backlog, Shutdown, listen, shutdown};

use super::pool::{Phase, Pool, run_acceptor};

impl Pool {
    pub fn start_acceptors(&mut self) -> Result<()> {
        if self.config.balance.workers_accept() {
            return Ok(());
        }
        for listener in &self.listeners {
            let acceptor = self.acceptor(listener, None)?;
            self.acceptors.push(tokio::task::spawn_local(run_acceptor(acceptor)));
        }
        Ok(())
    }

    pub fn refuse_if_alone(&mut self) {
        let alone = self.config.manual && self.workers.is_empty();
        if alone && self.phase == Phase::Serving && !std::mem::replace(&mut self.refuses, true) {
            // An event loop remembers that a listener was shut: a new one has to watch it later.
            self.acceptors.drain(..).for_each(|task| task.abort());
            self.waiting.clear();
            for listener in &self.listeners {
                let _ = shutdown(listener.fd.as_raw_fd(), Shutdown::Both);
            }
        }
    }

    pub fn accept_again(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.refuses) {
            return Ok(());
        }
        for listener in &self.listeners {
            let backlog = Backlog::new(self.config.backlog).unwrap_or(Backlog::MAXCONN);
            listen(&listener.fd, backlog)
                .with_context(|| format!("listen again on {}", listener.address))?;
        }
        self.start_acceptors()
    }
}
