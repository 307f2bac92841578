//! Descriptors are a child's whole world, so the list is closed: standard streams and the channel
//! at the start, and afterwards only what the primary sends. The clone closes everything else; the
//! child makes sure before it opens anything itself.

use anyhow::{Context, Result, ensure};

use crate::sys;

/// Run first of all in a child.
pub fn only_the_declared() -> Result<()> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").context("list descriptors")? {
        let name = entry.context("list descriptors")?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // One is the listing itself, and takes the first free number.
    open.retain(|fd| *fd > sys::CHANNEL_FD + 1);
    ensure!(open.is_empty(), "descriptors {open:?} were not declared");
    Ok(())
}
