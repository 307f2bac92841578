//! Programs plugins may start: `--program NAME=PATH[,key=value…]`, and `[program.NAME]` in host.toml,
//! which becomes such a flag.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::values::dir;
use super::{DirGrant, units};
use crate::cli;

/// One program an operator granted, with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramGrant {
    pub name: String,
    pub path: PathBuf,
    /// Come before the arguments of whoever starts it.
    pub args: Vec<String>,
    /// Win over the environment of whoever starts it.
    pub env: Vec<(String, String)>,
    pub dirs: Vec<DirGrant>,
    /// Users and groups it may be started as.
    pub uids: Vec<u32>,
    pub gids: Vec<u32>,
    pub limits: ProgramLimits,
    /// Native: keeps the network.
    pub network: bool,
}

/// What one run of it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramLimits {
    pub memory: u64,
    /// Processor time in seconds; 0 is no limit.
    pub cpu: u64,
    /// Native: processes and threads.
    pub processes: u64,
    /// Open files.
    pub files: u64,
    /// Bytes of the largest file it writes.
    pub file_size: u64,
}

impl Default for ProgramLimits {
    fn default() -> ProgramLimits {
        ProgramLimits { memory: 256 << 20, cpu: 300, processes: 64, files: 256, file_size: 1 << 30 }
    }
}

/// What all children of one plugin together may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildLimits {
    pub count: u32,
    /// Of their memory limits, in bytes.
    pub memory: u64,
    /// Processor time within any minute.
    pub cpu: Option<Duration>,
}

impl ChildLimits {
    pub fn new(flags: &cli::LimitFlags) -> Result<ChildLimits> {
        let memory = units::size("--max-children-memory", &flags.max_children_memory)?;
        let cpu = units::duration("--max-children-cpu", &flags.max_children_cpu)?;
        let cpu = Some(cpu).filter(|cpu| !cpu.is_zero());
        Ok(ChildLimits { count: flags.max_children, memory, cpu })
    }
}

pub fn all(texts: &[String]) -> Result<Vec<ProgramGrant>> {
    let mut all: Vec<ProgramGrant> = Vec::new();
    for text in texts {
        let grant = ProgramGrant::parse(text)?;
        let twice = all.iter().any(|other| other.name == grant.name);
        ensure!(!twice, "--program {}: granted twice", grant.name);
        all.push(grant);
    }
    Ok(all)
}

const KEYS: &str = "args, env, dir, uid, gid, memory, cpu, processes, files, file-size or network";

impl ProgramGrant {
    pub fn parse(text: &str) -> Result<ProgramGrant> {
        let wrong = || format!("--program {text}: write NAME=PATH[,key=value…]");
        let mut parts = split(text).into_iter();
        let first = parts.next().unwrap_or_default();
        let (name, path) = first.split_once('=').with_context(wrong)?;
        ensure!(!name.is_empty() && !path.is_empty(), wrong());
        let mut grant = ProgramGrant {
            name: checked_name(name)?,
            path: absolute(Path::new(path)).with_context(|| format!("--program {name}"))?,
            args: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            uids: Vec::new(),
            gids: Vec::new(),
            limits: ProgramLimits::default(),
            network: false,
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((&part, ""));
            grant.set(key, value).with_context(|| format!("--program {name}"))?;
        }
        Ok(grant)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        ensure!(!value.contains('\0'), "{key}: holds a NUL byte");
        let number = || {
            let wrong = || format!("{key}={value}: write a number");
            value.parse::<u32>().with_context(wrong)
        };
        let some = |n: u32| {
            ensure!(n > 0, "{key}=0: give at least 1");
            Ok(u64::from(n))
        };
        match key {
            "args" => self.args.push(value.to_owned()),
            "env" => self.env.extend(super::pairs_of("env", &[value.to_owned()])?),
            "dir" => self.dirs.push(dir("--dir", value)?),
            "uid" => self.uids.push(number()?),
            "gid" => self.gids.push(number()?),
            "memory" => self.limits.memory = units::size(key, value)?,
            "cpu" => self.limits.cpu = seconds(units::duration(key, value)?),
            "processes" => self.limits.processes = some(number()?)?,
            "files" => self.limits.files = some(number()?)?,
            "file-size" => self.limits.file_size = units::size(key, value)?,
            "network" => match value {
                "" | "true" => self.network = true,
                "false" => self.network = false,
                _ => bail!("network={value}: write true or false"),
            },
            _ => bail!("unknown key `{key}`: write {KEYS}"),
        }
        Ok(())
    }
}

fn checked_name(name: &str) -> Result<String> {
    let right = super::name(name.to_owned()).ok();
    right.with_context(|| {
        format!("--program {name}: use up to 64 letters, digits, `-`, `_` and `.` for the name")
    })
}

/// The kernel counts whole seconds; less than one is one.
fn seconds(time: Duration) -> u64 {
    if time.is_zero() { 0 } else { time.as_secs().max(1) }
}

/// Whatever the working directory is later.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find {}", path.display()))
}

/// At commas; `\,` is a comma and `\\` a backslash of the text.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => parts.push(String::new()),
            '\\' if matches!(chars.peek(), Some(',' | '\\')) => {
                parts.last_mut().expect("never empty").extend(chars.next());
            }
            c => parts.last_mut().expect("never empty").push(c),
        }
    }
    parts
}

/// The flag that says what a table of host.toml says.
pub fn flag(name: &str, values: &[(String, String)]) -> Result<String> {
    let path = values.iter().find(|(key, _)| key == "path");
    let (_, path) = path.with_context(|| format!("program {name}: `path` is missing"))?;
    let mut text = format!("{name}={}", escaped(path));
    for (key, value) in values.iter().filter(|(key, _)| key != "path") {
        text.push_str(&format!(",{key}={}", escaped(value)));
    }
    Ok(text)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_holds_what_the_flag_says() {
        let grant = ProgramGrant::parse(
            "convert=/bin/sh,args=-c,args=echo a\\,b,env=K=v=w,uid=7,memory=1M,cpu=500ms,network",
        )
        .unwrap();
        assert_eq!((grant.name.as_str(), grant.path.to_str().unwrap()), ("convert", "/bin/sh"));
        assert_eq!(grant.args, ["-c", "echo a,b"]);
        assert_eq!(grant.env, [("K".to_owned(), "v=w".to_owned())]);
        assert_eq!((grant.uids, grant.limits.memory, grant.limits.cpu), (vec![7], 1 << 20, 1));
        assert!(grant.network);
    }

    #[test]
    fn a_table_becomes_the_flag_that_says_the_same() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let values = [pair("path", "/a,b"), pair("args", "x\\,y"), pair("args", "z")];
        let grant = ProgramGrant::parse(&flag("p", &values).unwrap()).unwrap();
        assert_eq!(grant.path.to_str().unwrap(), "/a,b");
        assert_eq!(grant.args, ["x\\,y", "z"]);
        assert!(flag("p", &values[1..]).is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("resize", "NAME=PATH"),
            ("=x", "NAME=PATH"),
            ("x=", "NAME=PATH"),
            ("a b=/bin/sh", "--program a b"),
            ("x=/bin/sh,what=1", "unknown key `what`"),
            ("x=/bin/sh,memory=lots", "memory lots"),
            ("x=/bin/sh,uid=me", "uid=me"),
            ("x=/bin/sh,dir=/nowhere", "/nowhere"),
            ("x=/bin/sh,processes=0", "at least 1"),
        ] {
            let error = format!("{:#}", ProgramGrant::parse(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
