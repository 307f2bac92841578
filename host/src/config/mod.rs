//! Flags become one checked `Config`. Every complaint names the flag, the value and what to write.

mod changes;
mod file;
mod listen;
mod program;
mod source;
mod units;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::primary::balance::Policy;
use crate::resolver::policy::Grant;
use crate::worker::settings::{Limits, Protocol};

pub use listen::ListenSpec;
pub use program::{ChildLimits, ProgramGrant, ProgramLimits};
pub use source::Source;

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
    /// The primary program.
    pub primary: Option<PathBuf>,
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
        let plugin = flags.plugin.plugin.context("--plugin: no plugin is given")?;
        let manual = flags.pool.workers == "manual";
        let primary = flags.primary.primary;
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
        Ok(PoolConfig {
            name: name.map_or_else(|| stem(&plugin), str::to_owned),
            plugin,
            primary,
            exit_with_primary: flags.primary.exit_with_primary,
            watch: flags.plugin.watch,
            args: flags.args,
            env: pairs("--env", &flags.plugin.env, |key| std::env::var(key).ok())?,
            set: pairs("--set", &flags.plugin.set, |_| None)?,
            dirs: flags.plugin.dir.iter().map(|text| dir(text)).collect::<Result<_>>()?,
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
            balance,
            workers: if manual { 0 } else { workers(&flags.pool.workers)? },
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

/// Names end up in file names and metric labels.
fn name(text: String) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let right = !text.is_empty() && text.len() <= 64 && !text.starts_with('.');
    ensure!(
        right && text.chars().all(plain),
        "--name {text}: use up to 64 letters, digits, `-`, `_` and `.`"
    );
    Ok(text)
}

/// A file's name without its ending, as far as a name may hold it.
fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let usable = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(usable).take(64).collect();
    if name.is_empty() { "host".into() } else { name }
}

fn metrics(text: &str) -> Result<SocketAddr> {
    let address = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let wrong = || format!("--metrics {text}: write HOST:PORT, [V6]:PORT or :PORT");
    let found = address.to_socket_addrs().ok().and_then(|mut all| all.next());
    found.with_context(wrong)
}

fn limits(flags: &cli::LimitFlags, pool: &cli::PoolFlags) -> Result<Limits> {
    ensure!(flags.max_instances > 0, "--max-instances 0: give at least 1");
    ensure!(
        pool.max_instance_concurrent_reuse_count != Some(0),
        "--max-instance-concurrent-reuse-count 0: give at least 1"
    );
    let limits = Limits {
        request_timeout: units::duration("--request-timeout", &flags.request_timeout)?,
        max_memory_size: units::size("--max-memory-size", &flags.max_memory_size)?,
        max_instances: flags.max_instances,
        max_instance_reuse_count: pool.max_instance_reuse_count,
        max_instance_concurrent_reuse_count: pool.max_instance_concurrent_reuse_count,
        idle_instance_timeout: units::duration(
            "--idle-instance-timeout",
            &pool.idle_instance_timeout,
        )?,
        header_timeout: units::duration("--header-timeout", &flags.header_timeout)?,
        keep_alive_timeout: units::duration("--keep-alive-timeout", &flags.keep_alive_timeout)?,
        max_header_size: header_size(&flags.max_header_size)?,
        max_body_size: Some(units::size("--max-body-size", &flags.max_body_size)?)
            .filter(|size| *size > 0),
    };
    Ok(limits)
}

fn header_size(text: &str) -> Result<u32> {
    let size = units::size("--max-header-size", text)?;
    let right = (8 << 10..=16 << 20).contains(&size);
    ensure!(right, "--max-header-size {text}: give between 8K and 16M");
    Ok(size as u32)
}

fn message_size(text: &str) -> Result<u64> {
    let size = units::size("--max-message-size", text)?;
    ensure!((1..=1 << 30).contains(&size), "--max-message-size {text}: give between 1 and 1G");
    Ok(size)
}

fn workers(text: &str) -> Result<usize> {
    if text == "auto" {
        return Ok(available_cpus());
    }
    match text.parse() {
        Ok(0) => bail!("--workers 0: give at least 1, or auto"),
        Ok(n) if n <= MAX_WORKERS => Ok(n),
        Ok(n) => bail!("--workers {n}: give at most {MAX_WORKERS}"),
        Err(_) => bail!("--workers {text}: give a number, auto or manual"),
    }
}

/// Counts affinity and cgroup quota, as the standard library does.
fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

type Pairs = Vec<(String, String)>;

/// `K=V` as a flag of this name takes them.
pub fn pairs_of(flag: &str, texts: &[String]) -> Result<Pairs> {
    pairs(flag, texts, |_| None)
}

fn pairs(flag: &str, texts: &[String], fill: impl Fn(&str) -> Option<String>) -> Result<Pairs> {
    let pair = |text: &String| {
        ensure!(!text.contains('\0'), "{flag} {text:?}: holds a NUL byte");
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => {
                let value = fill(text).with_context(|| format!("{flag} {text}: write K=V"))?;
                (text.clone(), value)
            }
        };
        ensure!(!key.is_empty(), "{flag} {text}: the name is empty; write K=V");
        Ok((key, value))
    };
    texts.iter().map(pair).collect()
}

fn dir(text: &str) -> Result<DirGrant> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (host, guest) = rest.split_once("::").unwrap_or((rest, rest));
    ensure!(
        !host.is_empty() && !guest.is_empty(),
        "--dir {text}: write HOST::GUEST or HOST::GUEST:ro"
    );
    let host = PathBuf::from(host);
    let meta = std::fs::metadata(&host).with_context(|| format!("--dir {}", host.display()))?;
    ensure!(meta.is_dir(), "--dir {}: not a directory", host.display());
    Ok(DirGrant { host, guest: guest.to_owned(), read_only })
}

fn access_log(text: &str) -> Result<AccessLog> {
    let (format, file) = match text.split_once(':') {
        Some((format, file)) => (format, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let json = match format {
        "json" => true,
        "combined" => false,
        _ => bail!("--access-log {text}: write combined, json, combined:FILE or json:FILE"),
    };
    Ok(AccessLog { json, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_needs_a_name_and_may_hold_further_equal_signs() {
        let all = pairs("--env", &["A=b=c".into(), "E=".into()], |_| None).unwrap();
        assert_eq!(all, [("A".into(), "b=c".into()), ("E".into(), String::new())]);
        assert!(pairs("--env", &["=x".into()], |_| None).is_err());
        let error = pairs("--set", &["x".into()], |_| None).unwrap_err();
        assert_eq!(error.to_string(), "--set x: write K=V");
    }
}
