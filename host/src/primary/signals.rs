//! Signals become wishes.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM or SIGINT: drain, then stop; the second one stops now.
    Stop,
    /// SIGQUIT.
    StopNow,
    /// SIGHUP.
    Reload,
    /// SIGUSR1: log files were moved away.
    ReopenLogs,
    /// SIGTTIN.
    OneMore,
    /// SIGTTOU.
    OneFewer,
}

pub fn listen() -> Result<mpsc::UnboundedReceiver<Wish>> {
    let (sender, wishes) = mpsc::unbounded_channel();
    for (kind, wish) in [
        (SignalKind::terminate(), Wish::Stop),
        (SignalKind::interrupt(), Wish::Stop),
        (SignalKind::quit(), Wish::StopNow),
        (SignalKind::hangup(), Wish::Reload),
        (SignalKind::user_defined1(), Wish::ReopenLogs),
        (SignalKind::from_raw(libc::SIGTTIN), Wish::OneMore),
        (SignalKind::from_raw(libc::SIGTTOU), Wish::OneFewer),
    ] {
        let mut stream = signal(kind).context("watch signals")?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while stream.recv().await.is_some() && sender.send(wish).is_ok() {}
        });
    }
    Ok(wishes)
}
