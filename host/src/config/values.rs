//! What single flags may say.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{AccessLog, DirGrant, MAX_WORKERS, units};
use crate::cli;
use crate::worker::settings::Limits;

/// Names end up in file names and metric labels.
pub(super) fn name(text: String) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let right = !text.is_empty() && text.len() <= 64 && !text.starts_with('.');
    ensure!(
        right && text.chars().all(plain),
        "--name {text}: use up to 64 letters, digits, `-`, `_` and `.`"
    );
    Ok(text)
}

/// A file's name without its ending, as far as a name may hold it.
pub(super) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let usable = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(usable).take(64).collect();
    if name.is_empty() { "host".into() } else { name }
}

/// A plugin's file name without its ending.
pub(super) fn plugin_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The plugin that is served, then those of `--setup-plugin`.
pub(super) fn choices(served: &Path, further: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let mut all = vec![(plugin_name(served), served.to_owned())];
    for text in further {
        let wrong = || format!("--setup-plugin {text}: write NAME=FILE");
        let (name, path) = text.split_once('=').with_context(wrong)?;
        ensure!(!name.is_empty() && !path.is_empty(), wrong());
        ensure!(
            all.iter().all(|(known, _)| known != name),
            "--setup-plugin {name}: there is a plugin of this name already; choose another"
        );
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "--setup-plugin {name}: {}: no such file", path.display());
        all.push((name.to_owned(), path));
    }
    Ok(all)
}

pub(super) fn metrics(text: &str) -> Result<SocketAddr> {
    let address = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let wrong = || format!("--metrics {text}: write HOST:PORT, [V6]:PORT or :PORT");
    let found = address.to_socket_addrs().ok().and_then(|mut all| all.next());
    found.with_context(wrong)
}

pub(super) fn limits(flags: &cli::LimitFlags, pool: &cli::PoolFlags) -> Result<Limits> {
    ensure!(flags.max_instances > 0, "--max-instances 0: give at least 1");
    ensure!(
        pool.max_instance_concurrent_reuse_count != Some(0),
        "--max-instance-concurrent-reuse-count 0: give at least 1"
    );
    let limits = Limits {
        request_timeout: units::duration("--request-timeout", &flags.request_timeout)?,
        max_memory_size: units::size("--max-memory-size", &flags.max_memory_size)?,
        max_instances: flags.max_instances,
        max_requests_in_flight: flags.max_requests_in_flight,
        max_connections: flags.max_connections,
        tells_ends: flags.max_connections_per_address > 0,
        max_stack_size: stack_size(&flags.max_stack_size)?,
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

fn stack_size(text: &str) -> Result<u32> {
    let size = units::size("--max-stack-size", text)?;
    let right = (64 << 10..=64 << 20).contains(&size);
    ensure!(right, "--max-stack-size {text}: give between 64K and 64M");
    Ok(size as u32)
}

fn header_size(text: &str) -> Result<u32> {
    let size = units::size("--max-header-size", text)?;
    let right = (8 << 10..=16 << 20).contains(&size);
    ensure!(right, "--max-header-size {text}: give between 8K and 16M");
    Ok(size as u32)
}

pub(super) fn message_size(text: &str) -> Result<u64> {
    let size = units::size("--max-message-size", text)?;
    ensure!((1..=1 << 30).contains(&size), "--max-message-size {text}: give between 1 and 1G");
    Ok(size)
}

pub(super) fn workers(text: &str) -> Result<usize> {
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
pub fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) type Pairs = Vec<(String, String)>;

/// `K=V` as a flag of this name takes them.
pub fn pairs_of(flag: &str, texts: &[String]) -> Result<Pairs> {
    pairs(flag, texts, |_| None)
}

pub(super) fn pairs(
    flag: &str,
    texts: &[String],
    fill: impl Fn(&str) -> Option<String>,
) -> Result<Pairs> {
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

pub(super) fn dirs(flag: &str, texts: &[String]) -> Result<Vec<DirGrant>> {
    texts.iter().map(|text| dir(flag, text)).collect()
}

pub(super) fn dir(flag: &str, text: &str) -> Result<DirGrant> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (host, guest) = rest.split_once("::").unwrap_or((rest, rest));
    ensure!(
        !host.is_empty() && !guest.is_empty(),
        "{flag} {text}: write HOST::GUEST or HOST::GUEST:ro"
    );
    let host = PathBuf::from(host);
    let meta = std::fs::metadata(&host).with_context(|| format!("{flag} {}", host.display()))?;
    ensure!(meta.is_dir(), "{flag} {}: not a directory", host.display());
    Ok(DirGrant { host, guest: guest.to_owned(), read_only })
}

pub(super) fn access_log(text: &str) -> Result<AccessLog> {
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
