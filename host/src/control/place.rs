//! Where control sockets are: `$XDG_RUNTIME_DIR/host/`, else `/run/host/` for root, else
//! `/tmp/host-UID/`. A directory that belongs to somebody else, or that others may write to, is
//! refused: whoever owns it could put another host in our place.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const OF_ROOT: &str = "/run/host";

/// The directory, whether or not it exists.
pub fn directory() -> PathBuf {
    let uid = nix::unistd::geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("host"),
        None if uid.is_root() => PathBuf::from(OF_ROOT),
        None => PathBuf::from(format!("/tmp/host-{uid}")),
    }
}

/// Makes the directory if need be and checks whose it is.
pub fn prepare(directory: &Path) -> Result<()> {
    let shown = directory.display();
    // Root's holds sockets of hosts that have become other users; each socket is private by itself.
    let mode = if directory == Path::new(OF_ROOT) { 0o755 } else { 0o700 };
    let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(directory);
    made.with_context(|| format!("create {shown}"))?;
    check(directory)
}

/// Whether only we, or root, decide what is in there.
pub fn check(directory: &Path) -> Result<()> {
    let shown = directory.display();
    let meta = std::fs::symlink_metadata(directory).with_context(|| format!("use {shown}"))?;
    let me = nix::unistd::geteuid().as_raw();
    ensure!(meta.is_dir(), "use {shown}: not a directory");
    ensure!(meta.uid() == me || meta.uid() == 0, "use {shown}: it belongs to uid {}", meta.uid());
    ensure!(meta.mode() & 0o022 == 0, "use {shown}: others may write to it");
    Ok(())
}

pub fn socket(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.sock"))
}

/// The sockets in there, alive or not, by name.
pub fn all(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let socket = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().to_str()?.strip_suffix(".sock")?.to_owned();
        entry.file_type().ok()?.is_socket().then(|| (name, entry.path()))
    };
    let mut all: Vec<_> = entries.filter_map(socket).collect();
    all.sort();
    all
}
