//! What `--listen` takes.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenSpec {
    /// Host without brackets; empty is every IPv4 address, as in `:8080`.
    Tcp {
        host: String,
        port: u16,
    },
    Unix {
        path: PathBuf,
        mode: Option<u32>,
    },
    /// A listener that was opened before us, by number.
    Fd(RawFd),
}

impl ListenSpec {
    /// Port 0 is a new port each time.
    pub fn may_be_given_twice(&self) -> bool {
        matches!(self, ListenSpec::Tcp { port: 0, .. })
    }
}

impl FromStr for ListenSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<ListenSpec> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path);
        }
        if let Some(number) = text.strip_prefix("fd://") {
            let number: RawFd =
                number.parse().ok().filter(|fd| *fd >= 0).with_context(|| {
                    format!("--listen {text}: write fd://N, N a descriptor number")
                })?;
            return Ok(ListenSpec::Fd(number));
        }
        let wrong = || format!("--listen {text}: write HOST:PORT, [V6]:PORT, unix:/path or fd://N");
        let (host, port) = text.rsplit_once(':').with_context(wrong)?;
        let port = port.parse().ok().with_context(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(v6) => {
                let v6 = v6.strip_suffix(']').with_context(wrong)?;
                v6.parse::<std::net::Ipv6Addr>().ok().with_context(wrong)?;
                v6
            }
            None => host,
        };
        ensure!(!host.contains(['/', '[', ']']), wrong());
        ensure!(!host.contains(':') || text.starts_with('['), wrong());
        Ok(ListenSpec::Tcp { host: host.to_owned(), port })
    }
}

fn unix(text: &str, path: &str) -> Result<ListenSpec> {
    let (path, mode) = match path.split_once(",mode=") {
        Some((path, mode)) => {
            let mode = u32::from_str_radix(mode, 8)
                .ok()
                .filter(|mode| *mode <= 0o777)
                .with_context(|| format!("--listen {text}: write the mode in octal, e.g. 660"))?;
            (path, Some(mode))
        }
        None => (path, None),
    };
    ensure!(!path.is_empty(), "--listen {text}: write unix:/path");
    ensure!(path.len() < 108, "--listen {text}: a socket path has at most 107 bytes");
    Ok(ListenSpec::Unix { path: PathBuf::from(path), mode })
}

/// Descriptors a service manager has opened for us start here.
const FIRST_PASSED: RawFd = 3;

/// Every `--listen`; none means what a service manager passes, else the usual address.
pub fn all(texts: &[String]) -> Result<Vec<ListenSpec>> {
    if texts.is_empty() {
        return match passed(None) {
            Ok(listeners) if !listeners.is_empty() => Ok(listeners),
            _ => Ok(vec![ListenSpec::Tcp { host: "127.0.0.1".into(), port: 8080 }]),
        };
    }
    // For plugins that do other work than networking.
    if texts == ["none"] {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for text in texts {
        match text.strip_prefix("systemd") {
            Some("") => all.extend(passed(None)?),
            Some(name) if name.starts_with(':') => all.extend(passed(Some(&name[1..]))?),
            _ => all.push(text.parse()?),
        }
    }
    Ok(all)
}

/// The listeners of `LISTEN_FDS`, or those of one `LISTEN_FDNAMES` name.
fn passed(name: Option<&str>) -> Result<Vec<ListenSpec>> {
    let variable = |key| std::env::var(key).unwrap_or_default();
    // What was passed to the host we take over from comes to us by another way.
    let ours = variable("LISTEN_PID").parse() == Ok(std::process::id())
        || std::env::var_os(crate::primary::TAKE_OVER).is_some();
    let count: RawFd = variable("LISTEN_FDS").parse().unwrap_or(0);
    ensure!(ours && (1..=1024).contains(&count), "--listen systemd: no socket was passed to us");
    let names = variable("LISTEN_FDNAMES");
    let names: Vec<&str> = names.split(':').collect();
    let wanted = |index: &RawFd| match name {
        None => true,
        Some(name) => names.get(*index as usize) == Some(&name),
    };
    let found: Vec<ListenSpec> =
        (0..count).filter(wanted).map(|index| ListenSpec::Fd(FIRST_PASSED + index)).collect();
    ensure!(
        !found.is_empty(),
        "--listen systemd:{}: no socket of that name was passed to us",
        name.unwrap_or_default()
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read_and_others_are_refused() {
        let tcp = |host: &str, port| ListenSpec::Tcp { host: host.into(), port };
        for (text, expected) in [
            ("127.0.0.1:80", tcp("127.0.0.1", 80)),
            ("localhost:0", tcp("localhost", 0)),
            (":0", tcp("", 0)),
            ("[::]:8080", tcp("::", 8080)),
            ("fd://3", ListenSpec::Fd(3)),
            ("unix:/run/a", ListenSpec::Unix { path: "/run/a".into(), mode: None }),
            ("unix:/a,mode=660", ListenSpec::Unix { path: "/a".into(), mode: Some(0o660) }),
        ] {
            assert_eq!(text.parse::<ListenSpec>().unwrap(), expected, "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(110));
        for wrong in [
            "",
            "80",
            "a:b",
            "::1:80",
            "[::1",
            "[x]:80",
            "fd://x",
            "unix:",
            "a/b:80",
            "unix:/a,mode=9",
            "127.0.0.1:70000",
            &long,
        ] {
            assert!(wrong.parse::<ListenSpec>().is_err(), "{wrong}");
        }
    }
}
