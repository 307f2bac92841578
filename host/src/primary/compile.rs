//! Gets a plugin's artifact: from the cache, or from a compiler process that is gone afterwards.
//! The primary moves plugin and artifact bytes; it never looks into them.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::cache::{Cache, Key};
use super::child::{self, Child};
use super::output::Output;
use crate::ipc::message::{FromCompiler, ToCompiler};
use crate::{engine, sys};

/// A plugin file larger than this is a mistake.
const MAX_PLUGIN: u64 = 512 << 20;
/// How an artifact begins, as `host compile` leaves it: nothing is to be done then. Whether it fits
/// this engine, the worker finds out.
const COMPILED: &[u8] = b"\x7fELF";
/// Longer than any real component needs on one core.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// Machine code in a sealed memfd.
pub struct Artifact {
    pub fd: OwnedFd,
    pub from_cache: bool,
    key: Key,
}

impl Artifact {
    pub fn try_clone(&self) -> Result<Artifact> {
        let fd = self.fd.try_clone().context("duplicate artifact")?;
        Ok(Artifact { fd, from_cache: self.from_cache, key: self.key.clone() })
    }
}

/// Where artifacts come from; shared by every start and reload.
pub struct Compiler {
    pub cache: Option<Cache>,
    pub output: Output,
    pub deadline: Duration,
}

impl Compiler {
    pub async fn artifact(&self, plugin: &Path) -> Result<Artifact> {
        let shown = plugin.display();
        let bytes = read_plugin(plugin).with_context(|| format!("read {shown}"))?;
        let key = Key::new(&bytes, &fingerprint()?);
        if bytes.starts_with(COMPILED) {
            let fd = sys::sealed_memfd("host-artifact", &bytes)?;
            return Ok(Artifact { fd, from_cache: false, key });
        }
        if let Some(artifact) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            let fd = sys::sealed_memfd("host-artifact", &artifact)?;
            return Ok(Artifact { fd, from_cache: true, key });
        }
        let fd = self.compile(&bytes).await.with_context(|| format!("compile {shown}"))?;
        if let Some(cache) = &self.cache {
            let kept = sys::FileMap::sealed(&fd).and_then(|map| cache.put(&key, &map));
            if let Err(error) = kept {
                self.output.log(&format!("keep artifact: {error:#}"));
            }
        }
        Ok(Artifact { fd, from_cache: false, key })
    }

    /// Forgets an artifact a worker could not load.
    pub fn discard(&self, artifact: &Artifact) {
        if let Some(cache) = &self.cache {
            cache.remove(&artifact.key);
        }
    }

    async fn compile(&self, plugin: &[u8]) -> Result<OwnedFd> {
        match self.ask(plugin, ToCompiler::Compile).await? {
            (FromCompiler::Done, mut fds) => {
                let artifact = fds.pop().context("compiler sent no artifact")?;
                ensure!(fds.is_empty(), "compiler sent more than an artifact");
                sys::seal(&artifact)?;
                Ok(artifact)
            }
            _ => bail!("compiler answered something else"),
        }
    }

    /// What the plugin exports and imports, as the compiler process reads it.
    pub async fn describe(&self, plugin: &Path) -> Result<(Vec<String>, Vec<String>)> {
        let shown = plugin.display();
        let bytes = read_plugin(plugin).with_context(|| format!("read {shown}"))?;
        ensure!(!bytes.starts_with(COMPILED), "{shown}: it is compiled already");
        let answer = self.ask(&bytes, ToCompiler::Describe).await;
        match answer.with_context(|| format!("check {shown}"))? {
            (FromCompiler::Described { exports, imports }, _) => {
                let printable = |names: Vec<String>| names.iter().map(|n| one_line(n)).collect();
                Ok((printable(exports), printable(imports)))
            }
            _ => bail!("compiler answered something else"),
        }
    }

    /// One order to a compiler process of its own.
    async fn ask(&self, plugin: &[u8], order: ToCompiler) -> Result<(FromCompiler, Vec<OwnedFd>)> {
        let input = sys::sealed_memfd("host-plugin", plugin)?;
        let child: Child<ToCompiler, FromCompiler> =
            child::start("compiler", "host: compiler", "[compiler] ", &self.output)?;
        // If it is gone already, how it ended says more than that it cannot be written to.
        let _ = child.channel.post(&order, vec![input]);
        let answer = tokio::time::timeout(self.deadline, child.channel.recv()).await;
        // Whatever it answered, it has nothing more to do; if it died, its own end is the reason.
        if !matches!(answer, Ok(Ok(None))) {
            child.process.kill(Signal::SIGKILL);
        }
        let end = child::wait(&child.process.pidfd).await?.unmasked_by_code();
        match answer.with_context(|| format!("not done within {:?}", self.deadline))?? {
            Some((FromCompiler::Failed(why), _)) => bail!("{}", one_line(&why)),
            Some(answer) => Ok(answer),
            None => bail!("compiler {end}"),
        }
    }
}

fn read_plugin(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    ensure!(!meta.is_dir(), "it is a directory");
    ensure!(meta.len() <= MAX_PLUGIN, "larger than {} MiB", MAX_PLUGIN >> 20);
    let mut bytes = Vec::new();
    file.take(MAX_PLUGIN + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= MAX_PLUGIN, "larger than {} MiB", MAX_PLUGIN >> 20);
    ensure!(!bytes.is_empty(), "the file is empty");
    Ok(bytes)
}

/// Tells engines apart whose artifacts must not be mixed: version, flags, CPU features.
fn fingerprint() -> Result<String> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for flavor in [engine::Flavor::Sequential, engine::Flavor::Concurrent] {
        let engine = wasmtime::Engine::new(&engine::config(flavor))
            .map_err(anyhow::Error::from)
            .context("describe engine")?;
        engine.precompile_compatibility_hash().hash(&mut hasher);
    }
    Ok(format!("{}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish()))
}

/// A child's words may hold anything; what we print is one line of printable text.
pub fn one_line(text: &str) -> String {
    let joined = text.split('\n').map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>();
    joined.join("; ").chars().filter(|c| !c.is_control()).take(2000).collect()
}
