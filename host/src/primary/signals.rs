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
    /// Told to plugins and the primary program, before what else the signal means.
    Tell(i32),
}

pub fn listen() -> Result<mpsc::UnboundedReceiver<Wish>> {
    let (sender, wishes) = mpsc::unbounded_channel();
    for (kind, wish) in [
        (SignalKind::terminate(), Some(Wish::Stop)),
        (SignalKind::interrupt(), Some(Wish::Stop)),
        (SignalKind::quit(), Some(Wish::StopNow)),
        (SignalKind::hangup(), Some(Wish::Reload)),
        (SignalKind::user_defined1(), Some(Wish::ReopenLogs)),
        (SignalKind::user_defined2(), None),
        (SignalKind::window_change(), None),
        (SignalKind::from_raw(libc::SIGTTIN), Some(Wish::OneMore)),
        (SignalKind::from_raw(libc::SIGTTOU), Some(Wish::OneFewer)),
    ] {
        let mut stream = signal(kind).context("watch signals")?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while stream.recv().await.is_some() {
                let tell = Wish::Tell(kind.as_raw_value());
                if [Some(tell), wish].into_iter().flatten().any(|wish| sender.send(wish).is_err()) {
                    return;
                }
            }
        });
    }
    Ok(wishes)
}
