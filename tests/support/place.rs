//! Where things are: the binary, the plugins, scratch directories.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub const HOST: &str = env!("CARGO_BIN_EXE_host");

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is inside the repository")
}

/// A plugin built by `make plugins`, by its crate's name.
pub fn plugin(name: &str) -> String {
    built("wasm32-wasip2", name)
}

/// The plugin that is no component yet.
pub fn core_module() -> String {
    built("wasm32-wasip1", "core-module")
}

fn built(target: &str, name: &str) -> String {
    let file = format!("plugins/target/{target}/release/{}.wasm", name.replace('-', "_"));
    let path = repository().join(file);
    assert!(path.exists(), "{} is missing: run `make plugins`", path.display());
    text(&path)
}

/// A file below plugins/ that may not have been built.
pub fn in_plugins(path: &str) -> Option<String> {
    let path = repository().join("plugins").join(path);
    path.exists().then(|| text(&path))
}

/// A hand-written component in tests/fixtures.
pub fn wat(name: &str) -> String {
    text(&repository().join(format!("tests/fixtures/{name}.wat")))
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Artifacts that all tests share, so that each plugin is compiled once. It outlives the run: the
/// entries are named by content.
pub fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// A directory of one test, short enough in name to hold a Unix socket, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("create a scratch directory");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in here, as an argument.
    pub fn at(&self, name: &str) -> String {
        text(&self.0.join(name))
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.join(name), content).expect("write a scratch file");
        self.at(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
