//! `--watch`: tells when a plugin file has been replaced or rewritten. The kernel says so (inotify),
//! so nothing wakes up in between. Watches the directory, since builds replace files by new ones.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;

use super::output::Output;
use super::{Event, Events};
use crate::sys;

/// A build touches its result several times; wait until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Watches until the returned task is aborted.
pub fn start(file: &Path, events: Events, output: Output) -> Result<tokio::task::JoinHandle<()>> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = file.file_name().context("it has no file name")?.to_owned();
    let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
    let inotify = Inotify::init(flags).context("start inotify")?;
    // A hard link is only seen as a creation.
    let changes =
        AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
    inotify
        .add_watch(directory, changes)
        .with_context(|| format!("watch {}", directory.display()))?;
    Ok(tokio::task::spawn_local(async move {
        if let Err(error) = run(inotify, &name, &events).await {
            output.log(&format!("watch: {error:#}"));
        }
    }))
}

async fn run(inotify: Inotify, name: &OsString, events: &Events) -> Result<()> {
    let copy = std::os::fd::AsFd::as_fd(&inotify).try_clone_to_owned()?;
    let watched = sys::watch(copy, Interest::READABLE).context("watch inotify")?;
    loop {
        if !changed(&watched, &inotify, name).await? {
            continue;
        }
        while let Ok(more) = tokio::time::timeout(QUIET, changed(&watched, &inotify, name)).await {
            more?;
        }
        if events.send(Event::FileChanged).is_err() {
            return Ok(());
        }
    }
}

/// Waits for changes in the directory; whether one of them was our file's.
async fn changed(
    watched: &tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
    inotify: &Inotify,
    name: &OsString,
) -> Result<bool> {
    let mut ready = watched.readable().await.context("wait for inotify")?;
    match inotify.read_events() {
        Ok(changes) => Ok(changes.iter().any(|change| change.name.as_ref() == Some(name))),
        Err(nix::errno::Errno::EAGAIN) => {
            ready.clear_ready();
            Ok(false)
        }
        Err(error) => Err(error).context("read inotify"),
    }
}
