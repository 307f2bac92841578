//! `--watch`: tells when one of a plugin's files has been replaced or rewritten. The kernel says so
//! (inotify), so nothing wakes up in between. Watches directories, since builds replace files by new
//! ones.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::Interest;

use super::output::Output;
use super::{Event, Events};
use crate::sys;

/// A build touches its result several times; wait until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Names to look out for, each in the directory watched as that.
type Names = HashSet<(WatchDescriptor, OsString)>;

/// Watches until the returned task is aborted.
pub fn start<'a>(
    files: impl Iterator<Item = &'a Path>,
    events: Events,
    output: Output,
) -> Result<tokio::task::JoinHandle<()>> {
    let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
    let inotify = Inotify::init(flags).context("start inotify")?;
    let mut names = Names::new();
    for file in files {
        names.insert(watch(&inotify, file).with_context(|| format!("watch {}", file.display()))?);
    }
    Ok(tokio::task::spawn_local(async move {
        if let Err(error) = run(inotify, &names, &events).await {
            output.log(&format!("watch: {error:#}"));
        }
    }))
}

fn watch(inotify: &Inotify, file: &Path) -> Result<(WatchDescriptor, OsString)> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = file.file_name().context("it has no file name")?.to_owned();
    // A hard link is only seen as a creation.
    let changes =
        AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
    Ok((inotify.add_watch(directory, changes)?, name))
}

async fn run(inotify: Inotify, names: &Names, events: &Events) -> Result<()> {
    let copy = std::os::fd::AsFd::as_fd(&inotify).try_clone_to_owned()?;
    let watched = sys::watch(copy, Interest::READABLE).context("watch inotify")?;
    loop {
        if !changed(&watched, &inotify, names).await? {
            continue;
        }
        while let Ok(more) = tokio::time::timeout(QUIET, changed(&watched, &inotify, names)).await {
            more?;
        }
        if events.send(Event::FileChanged).is_err() {
            return Ok(());
        }
    }
}

/// Waits for changes in the directory; whether one of them was a file of ours.
async fn changed(
    watched: &tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
    inotify: &Inotify,
    names: &Names,
) -> Result<bool> {
    let mut ready = watched.readable().await.context("wait for inotify")?;
    match inotify.read_events() {
        Ok(changes) => Ok(changes
            .into_iter()
            .any(|change| change.name.is_some_and(|name| names.contains(&(change.wd, name))))),
        Err(nix::errno::Errno::EAGAIN) => {
            ready.clear_ready();
            Ok(false)
        }
        Err(error) => Err(error).context("read inotify"),
    }
}
