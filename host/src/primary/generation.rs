//! What the workers of one generation have in common: the artifact and what the plugin is told.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Result;

use super::compile::{Artifact, Compiler};
use super::files::Files;
use super::programs::Programs;
use crate::config::PoolConfig;
use crate::worker::settings::{Dir, LogFormat, Process, Settings};

pub struct Generation {
    pub number: u64,
    pub artifact: Artifact,
    /// The plugin's file name, for titles and logs.
    pub name: String,
    /// The directories it is granted.
    pub files: Rc<Files>,
    /// What its plugin may start.
    pub programs: Rc<Programs>,
    config: PoolConfig,
}

impl Generation {
    /// Compiles what is not in the cache, and loads the programs.
    pub async fn load(compiler: &Compiler, number: u64, config: PoolConfig) -> Result<Generation> {
        let artifact = compiler.artifact(&config.plugin).await?;
        let programs = Programs::load(&config, compiler).await?;
        let files = Files::grant("--dir", &config.dirs, &compiler.output).await?;
        let name = name_of(&config);
        Ok(Generation { number, artifact, name, files, programs, config })
    }

    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// The same plugin again under a new number: how a rollback looks from outside.
    pub fn again(&self, number: u64) -> Result<Generation> {
        let artifact = self.artifact.try_clone()?;
        Ok(self.with_artifact(number, artifact, self.config.clone()))
    }

    /// Another plugin, with everything else as it is. Its number is still to be given.
    pub async fn with_plugin(&self, compiler: &Compiler, plugin: PathBuf) -> Result<Generation> {
        let config = PoolConfig { plugin, ..self.config.clone() };
        let artifact = compiler.artifact(&config.plugin).await?;
        Ok(self.with_artifact(0, artifact, config))
    }

    /// What the plugin is granted stays as it is.
    fn with_artifact(&self, number: u64, artifact: Artifact, config: PoolConfig) -> Generation {
        let (files, programs) = (self.files.clone(), self.programs.clone());
        Generation { number, artifact, name: name_of(&config), files, programs, config }
    }

    pub fn settings(&self, worker_id: u32, access_log: Option<LogFormat>) -> Settings {
        let config = &self.config;
        Settings {
            worker_id,
            generation: self.number,
            plugin: self.name.clone(),
            env: config.env.clone(),
            args: config.args.clone(),
            config: config.set.clone(),
            dirs: config.dirs.iter().map(Dir::from).collect(),
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

fn name_of(config: &PoolConfig) -> String {
    config.plugin.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
