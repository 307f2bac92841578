//! What the workers of one generation have in common: the artifact and what the plugin is told.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};

use super::compile::{Artifact, Compiler};
use super::programs::Programs;
use crate::config::{DirGrant, PoolConfig};
use crate::sandbox::{dirs, probe};
use crate::worker::settings::{Dir, LogFormat, Process, Settings};

pub struct Generation {
    pub number: u64,
    pub artifact: Artifact,
    /// The plugin's file name, for titles and logs.
    pub name: String,
    pub dirs: Vec<OwnedFd>,
    /// What its plugin may start.
    pub programs: Rc<Programs>,
    config: PoolConfig,
}

impl Generation {
    /// Compiles what is not in the cache, and loads the programs.
    pub async fn load(compiler: &Compiler, number: u64, config: PoolConfig) -> Result<Generation> {
        let artifact = compiler.artifact(&config.plugin).await?;
        let programs = Programs::load(&config, compiler).await?;
        Generation::new(number, config, artifact, programs)
    }

    fn new(
        number: u64,
        config: PoolConfig,
        artifact: Artifact,
        programs: Rc<Programs>,
    ) -> Result<Generation> {
        let name = config.plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let walls = probe::decided()?;
        let open =
            |dir: &DirGrant| open_dir(&dir.host).map(|fd| dirs::lend(fd, dir.read_only, walls));
        let dirs = config.dirs.iter().map(open).collect::<Result<_>>()?;
        Ok(Generation { number, artifact, name, dirs, programs, config })
    }

    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// The same plugin again under a new number: how a rollback looks from outside.
    pub fn again(&self, number: u64) -> Result<Generation> {
        let (artifact, programs) = (self.artifact.try_clone()?, self.programs.clone());
        Generation::new(number, self.config.clone(), artifact, programs)
    }

    /// Another plugin, with everything else as it is. Its number is still to be given.
    pub async fn with_plugin(&self, compiler: &Compiler, plugin: PathBuf) -> Result<Generation> {
        let config = PoolConfig { plugin, ..self.config.clone() };
        let artifact = compiler.artifact(&config.plugin).await?;
        Generation::new(0, config, artifact, self.programs.clone())
    }

    pub fn settings(&self, worker_id: u32, access_log: Option<LogFormat>) -> Settings {
        let dir = |dir: &DirGrant| Dir { guest_path: dir.guest.clone(), read_only: dir.read_only };
        let config = &self.config;
        Settings {
            worker_id,
            generation: self.number,
            plugin: self.name.clone(),
            env: config.env.clone(),
            args: config.args.clone(),
            config: config.set.clone(),
            dirs: config.dirs.iter().map(dir).collect(),
            limits: config.limits.clone(),
            access_log,
            allow_outbound: !config.allow_outbound.is_empty(),
            programs: self.programs.names(),
            process: Process {
                is_program_too: config.primary.as_ref() == Some(&config.choices[0].1),
                ..Process::default()
            },
        }
    }
}

pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    use nix::fcntl::OFlag;
    anyhow::ensure!(
        probe::confines_paths(),
        "--dir {}: this kernel has no Landlock (Linux 5.13 has it), and nothing else would keep whoever \
         escapes beneath a directory",
        path.display()
    );
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
        .with_context(|| format!("--dir {}", path.display()))
}
