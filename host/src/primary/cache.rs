//! Artifacts on disk, named by plugin content and engine. An entry is only ever moved, never read
//! into: its digest says whether it is whole, and the worker alone loads it, behind its walls.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"hostart1";
const HEAD: usize = 8 + 32;

pub struct Cache {
    dir: PathBuf,
}

/// Names the artifact of one plugin under one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub fn new(plugin: &[u8], engine: &str) -> Key {
        let digest = Sha256::new().chain_update(engine).chain_update([0]).chain_update(plugin);
        Key(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Cache {
    /// `$XDG_CACHE_HOME/host`, else `~/.cache/host`; made if need be, refused if others may write.
    pub fn open() -> Result<Cache> {
        let base = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => match std::env::var_os("HOME").filter(|dir| !dir.is_empty()) {
                Some(home) => PathBuf::from(home).join(".cache"),
                None => bail!("neither XDG_CACHE_HOME nor HOME is set"),
            },
        };
        Self::at(&base.join("host"))
    }

    fn at(dir: &Path) -> Result<Cache> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("create {}", dir.display()))?;
        let meta = std::fs::metadata(dir).with_context(|| format!("stat {}", dir.display()))?;
        ours(&meta).with_context(|| format!("use {}", dir.display()))?;
        nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
            .with_context(|| format!("write to {}", dir.display()))?;
        Ok(Cache { dir: dir.to_owned() })
    }

    /// The artifact, or `None` if there is none that is ours and whole.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.path(key))
            .ok()?;
        ours(&file.metadata().ok()?).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (head, artifact) = bytes.split_at_checked(HEAD)?;
        let whole = head[..8] == *MAGIC && head[8..] == *Sha256::digest(artifact);
        whole.then(|| bytes.split_off(HEAD))
    }

    /// Keeps an artifact; readers see the old entry or the whole new one.
    pub fn put(&self, key: &Key, artifact: &[u8]) -> Result<()> {
        let path = self.path(key);
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = create(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&Sha256::digest(artifact))?;
            file.write_all(artifact)?;
            std::fs::rename(&temporary, &path)
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&temporary))).context("write cache entry")
    }

    pub fn remove(&self, key: &Key) {
        let _ = std::fs::remove_file(self.path(key));
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(&key.0)
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn ours(meta: &std::fs::Metadata) -> Result<()> {
    let me = nix::unistd::geteuid().as_raw();
    ensure!(meta.uid() == me, "it belongs to uid {}, not to {me}", meta.uid());
    ensure!(meta.mode() & 0o022 == 0, "others may write to it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("host-cache-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn an_entry_comes_back_whole_or_not_at_all() {
        let dir = scratch("whole");
        let cache = Cache::at(&dir).unwrap();
        let key = Key::new(b"plugin", "engine");
        assert!(cache.get(&key).is_none());
        cache.put(&key, b"artifact").unwrap();
        assert_eq!(cache.get(&key).unwrap(), b"artifact");
        for at in [0, 10, HEAD, HEAD + 3] {
            let mut bytes = std::fs::read(cache.path(&key)).unwrap();
            bytes[at] ^= 1;
            std::fs::write(cache.path(&key), &bytes).unwrap();
            assert!(cache.get(&key).is_none(), "byte {at} was changed");
            cache.put(&key, b"artifact").unwrap();
        }
        std::fs::write(cache.path(&key), b"short").unwrap();
        assert!(cache.get(&key).is_none());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_what_was_put_comes_out() {
        let dir = scratch("fuzz");
        let cache = Cache::at(&dir).unwrap();
        let key = Key::new(b"plugin", "engine");
        let artifact = b"\x7fELF artifact".repeat(9);
        cache.put(&key, &artifact).unwrap();
        let whole = std::fs::read(cache.path(&key)).unwrap();
        let samples = [whole, MAGIC.to_vec(), Vec::new()];
        crate::fuzz::mutated(&samples, |bytes| {
            std::fs::write(cache.path(&key), bytes).unwrap();
            let found = cache.get(&key);
            assert!(found.is_none_or(|found| found == artifact || found.is_empty()));
        });
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_others_may_write_to_is_refused() {
        let dir = scratch("foreign");
        Cache::at(&dir).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&dir, open).unwrap();
        assert!(Cache::at(&dir).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn plugin_and_engine_both_name_the_entry() {
        assert_ne!(Key::new(b"a", "b"), Key::new(b"a", "c"));
        assert_ne!(Key::new(b"a", "b"), Key::new(b"b", "b"));
        assert_eq!(Key::new(b"a", "b"), Key::new(b"a", "b"));
    }
}
