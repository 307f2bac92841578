//! Flags become one checked `Config`. Every complaint names the flag, the value and what to write.

mod changes;
mod file;
mod listen;
mod program;
mod source;
mod units;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::primary::balance::Policy;
use crate::resolver::policy::Grant;
use crate::worker::settings::{Limits, Protocol};

#[cfg(any(test, fuzzing))]
pub use file::fuzz as fuzz_file;
pub use listen::ListenSpec;
pub use program::{ChildLimits, ProgramGrant, ProgramLimits};
pub use source::Source;
use values::{
    access_log, choices, limits, message_size, metrics, name, pairs, plugin_name, stem, workers,
};
pub use values::{available_cpus, pairs_of};

/// Workers one pool may have.
pub const MAX_WORKERS: usize = 1024;

/// What the whole process does.
#[derive(Debug, Clone)]
pub struct Config {
    /// What commands call it.
    pub name: String,
    /// Whether somebody chose that name, so that it may not be changed to a free one.
    pub name_given: bool,
    pub pools: Vec<PoolConfig>,
    pub control: Control,
    pub metrics: Option<SocketAddr>,
    pub cache: bool,
    pub user: Option<String>,
    pub group: Option<String>,
    pub access_log: Option<AccessLog>,
    /// Start children without any sandbox.
    /// Workers get control groups of their own where that can be had.
    pub cgroups: bool,
    pub compile_timeout: Duration,
    pub insecure: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    Off,
    /// Under the host's name, where such sockets usually are.
    Usual,
    At(PathBuf),
}

/// One plugin and how it is served.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Tells pools of one host apart.
    pub name: String,
    pub plugin: PathBuf,
    /// What the primary program may choose from, by name; the first is the operator's own choice.
    pub choices: Vec<(String, PathBuf)>,
    /// The primary program.
    pub primary: Option<PathBuf>,
    /// Directories the primary program is granted.
    pub primary_dirs: Vec<DirGrant>,
    pub exit_with_primary: bool,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub set: Vec<(String, String)>,
    pub dirs: Vec<DirGrant>,
    /// Reload when the plugin file changes.
    pub watch: bool,
    pub allow_outbound: Vec<Grant>,
    /// What plugins may start.
    pub programs: Vec<ProgramGrant>,
    pub children: ChildLimits,
    pub listen: Vec<ListenSpec>,
    pub listen_per_worker: Option<u16>,
    pub backlog: i32,
    pub max_connections_per_address: Option<u32>,
    pub balance: Policy,
    /// None to begin with if the primary program forks them.
    pub workers: usize,
    pub manual: bool,
    pub max_message_size: u64,
    pub protocol: Option<Protocol>,
    pub ready_timeout: Duration,
    pub drain_timeout: Duration,
    pub reload: ReloadMode,
    pub health_path: Option<String>,
    pub probation: Duration,
    /// Requests after which a worker is replaced.
    pub max_requests: Option<u64>,
    /// Resident bytes above which a worker is replaced.
    pub max_worker_memory: Option<u64>,
    /// Bytes above which a worker is killed.
    pub worker_memory_limit: Option<u64>,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReloadMode {
    /// One worker after the other: at most one more than usual at a time.
    Rolling,
    /// All at once: every worker of the new generation is ready before the first gets a connection.
    Parallel,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirGrant {
    pub host: PathBuf,
    pub guest: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    pub json: bool,
    /// `None` is standard output.
    pub file: Option<PathBuf>,
}

impl PoolConfig {
    /// One pool, from what flags and file say together.
    fn new(name: Option<&str>, flags: cli::Serve) -> Result<PoolConfig> {
        let limits = limits(&flags.limits, &flags.pool)?;
        let primary = flags.primary.primary;
        let usual = if flags.plugin.plugin.is_none() { "manual" } else { "auto" };
        let wanted = flags.pool.workers.as_deref().unwrap_or(usual);
        let manual = wanted == "manual";
        let plugin = flags.plugin.plugin.or_else(|| primary.clone());
        let plugin = plugin.context("--plugin: no plugin is given")?;
        ensure!(
            !manual || primary.is_some(),
            "--workers manual: needs --primary, which forks them"
        );
        let balance: Policy = flags.listen.balance.parse()?;
        ensure!(
            balance != Policy::Program || primary.is_some(),
            "--balance program: needs --primary, which hands the connections out"
        );
        ensure!(
            balance != Policy::ReusePort || !manual,
            "--balance reuseport: needs a number of workers, not manual"
        );
        ensure!(
            !balance.workers_accept() || flags.limits.max_connections_per_address == 0,
            "--max-connections-per-address: not with --balance {balance}, where workers accept and \
             do not know of each other"
        );
        let workers = if manual { 0 } else { workers(wanted)? };
        let in_flight = limits.max_requests_in_flight as usize;
        ensure!(
            in_flight == 0 || in_flight >= workers,
            "--max-requests-in-flight {in_flight}: it is shared out to {workers} workers; give at least 1 \
             for each, or fewer --workers"
        );
        Ok(PoolConfig {
            name: name.map_or_else(|| stem(&plugin), str::to_owned),
            choices: choices(&plugin, &flags.primary.setup_plugin)?,
            plugin,
            primary,
            primary_dirs: values::dirs("--primary-dir", &flags.primary.primary_dir)?,
            exit_with_primary: flags.primary.exit_with_primary,
            watch: flags.plugin.watch,
            args: flags.args,
            env: pairs("--env", &flags.plugin.env, |key| std::env::var(key).ok())?,
            set: pairs("--set", &flags.plugin.set, |_| None)?,
            dirs: values::dirs("--dir", &flags.plugin.dir)?,
            allow_outbound: flags
                .plugin
                .allow_outbound
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_>>()?,
            programs: program::all(&flags.plugin.program)?,
            children: ChildLimits::new(&flags.limits)?,
            listen: listen::all(&flags.listen.listen)?,
            listen_per_worker: flags.listen.listen_per_worker,
            backlog: flags.listen.backlog,
            max_connections_per_address: Some(flags.limits.max_connections_per_address)
                .filter(|most| *most > 0),
            balance,
            workers,
            manual,
            max_message_size: message_size(&flags.primary.max_message_size)?,
            protocol: flags.listen.protocol,
            ready_timeout: units::duration("--ready-timeout", &flags.pool.ready_timeout)?,
            drain_timeout: units::duration("--drain-timeout", &flags.pool.drain_timeout)?,
            reload: flags.pool.reload,
            health_path: flags.pool.health_path,
            probation: units::duration("--probation", &flags.pool.probation)?,
            max_requests: flags.pool.max_requests.filter(|n| *n > 0),
            max_worker_memory: flags
                .pool
                .max_worker_memory
                .map(|text| units::size("--max-worker-memory", &text))
                .transpose()?,
            worker_memory_limit: flags
                .pool
                .worker_memory_limit
                .map(|text| units::size("--worker-memory-limit", &text))
                .transpose()?,
            limits,
        })
    }
}

impl PoolConfig {
    /// Another plugin than before, as the operator wants it.
    pub fn serve(&mut self, plugin: PathBuf) {
        self.choices[0] = (plugin_name(&plugin), plugin.clone());
        self.plugin = plugin;
    }

    /// What the primary program calls the plugin.
    pub fn plugin_name(&self) -> &str {
        let served = self.choices.iter().find(|(_, path)| *path == self.plugin);
        &served.unwrap_or(&self.choices[0]).0
    }
}

impl Config {
    fn new(flags: cli::HostFlags, pools: Vec<PoolConfig>) -> Result<Config> {
        let usual = match (&flags.config, pools.first()) {
            (Some(file), _) => stem(file),
            (None, Some(pool)) => stem(&pool.plugin),
            (None, None) => bail!("no pool is given"),
        };
        let name_given = flags.name.is_some();
        Ok(Config {
            name: name(flags.name.unwrap_or(usual))?,
            name_given,
            pools,
            control: match flags.control.as_deref() {
                None => Control::Usual,
                Some("off") => Control::Off,
                Some(path) => Control::At(path.into()),
            },
            metrics: flags.metrics.as_deref().map(metrics).transpose()?,
            cache: !flags.no_cache,
            user: flags.user,
            group: flags.group,
            access_log: flags.access_log.as_deref().map(access_log).transpose()?,
            cgroups: !flags.no_cgroups,
            compile_timeout: units::duration("--compile-timeout", &flags.compile_timeout)?,
            insecure: flags.insecure_no_sandbox,
        })
    }
}
