//! Where the configuration comes from, so that a reload can ask again: the flags the host was
//! started with, over a file if there is one.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::parser::ValueSource;
use clap::{ArgMatches, Parser};

use super::file::{File, Keys};
use super::{Config, PoolConfig};
use crate::cli;

pub struct Source {
    pub file: Option<PathBuf>,
    /// What followed `host serve`, for a successor.
    pub line: Vec<OsString>,
    /// As they were given, without what follows `--`.
    flags: Vec<OsString>,
    /// What follows `--`.
    args: Vec<OsString>,
    /// Names of the flags that were given.
    given: Vec<String>,
}

/// With several pools in the file, it would be unclear which one these are for.
const OF_ONE_POOL: [&str; 3] = ["plugin", "listen", "listen-per-worker"];

impl Source {
    /// `line` is what follows `host serve`, `matches` what clap made of it.
    pub fn new(line: Vec<OsString>, matches: &ArgMatches) -> Source {
        let mut flags = line.clone();
        let args = match flags.iter().position(|word| word == "--") {
            Some(at) => flags.split_off(at).split_off(1),
            None => Vec::new(),
        };
        let given =
            |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let given = matches.ids().filter(given).map(|id| id.as_str().replace('_', "-")).collect();
        Source { file: matches.get_one("config").cloned(), line, flags, args, given }
    }

    /// Only a file, as `host check` reads it.
    pub fn of_file(file: PathBuf) -> Source {
        let flags = vec!["--config".into(), file.clone().into()];
        Source {
            file: Some(file),
            line: Vec::new(),
            flags,
            args: Vec::new(),
            given: vec!["config".into()],
        }
    }

    /// The command line for plugins to see: without the arguments after `--`, which are theirs, and
    /// without the values of `--env`, which may be secrets of another.
    pub fn shown_line(&self) -> Vec<String> {
        let mut shown = vec!["serve".to_owned()];
        let mut flags = self.flags.iter().map(|flag| flag.to_string_lossy());
        while let Some(flag) = flags.next() {
            if flag == "--env" {
                flags.next();
            }
            let hides = flag.starts_with("--env=");
            shown.push(if hides { "--env".to_owned() } else { flag.into_owned() });
        }
        shown
    }

    /// What flags and file say now.
    pub fn config(&self) -> Result<Config> {
        let Some(path) = &self.file else {
            let flags = self.parse([])?;
            let pool = PoolConfig::new(None, self.parse([])?)?;
            return Config::new(flags.host, vec![pool]);
        };
        let shown = path.display();
        let file = File::read(path)?;
        if file.pools.len() > 1 {
            let unclear = OF_ONE_POOL.iter().find(|name| self.given.iter().any(|g| g == *name));
            if let Some(name) = unclear {
                bail!("--{name}: {shown} has several pools, so it is not clear which one is meant");
            }
        }
        let mut pools = Vec::new();
        for (name, keys) in &file.pools {
            let flags = self.parse([&file.defaults, keys]);
            let pool = flags.and_then(|flags| PoolConfig::new(Some(name), flags));
            pools.push(pool.with_context(|| format!("{shown}: pool {name}"))?);
        }
        if file.pools.is_empty() {
            let flags = self.parse([&file.defaults]);
            let pool = flags.and_then(|flags| PoolConfig::new(None, flags));
            pools.push(pool.with_context(|| shown.to_string())?);
        }
        no_address_twice(&pools).with_context(|| shown.to_string())?;
        let flags = self.parse([&file.host]).with_context(|| shown.to_string())?;
        Config::new(flags.host, pools).with_context(|| shown.to_string())
    }

    /// Later keys win over earlier ones, and flags over both.
    fn parse<'a>(&self, keys: impl IntoIterator<Item = &'a Keys>) -> Result<cli::Serve> {
        let mut all = Keys::new();
        for keys in keys {
            all.extend(keys.iter().map(|(name, values)| (name.clone(), values.clone())));
        }
        all.retain(|name, _| !self.given.contains(name));
        let args = all.remove("args").unwrap_or_default();
        let mut line: Vec<OsString> = vec!["host".into(), "serve".into()];
        line.extend(all.into_values().flatten().map(OsString::from));
        line.extend(self.flags.iter().cloned());
        line.push("--".into());
        line.extend(args.into_iter().map(OsString::from));
        line.extend(self.args.iter().cloned());
        match cli::Cli::try_parse_from(line).map(|cli| cli.command) {
            Ok(cli::Command::Serve(flags)) => Ok(*flags),
            Ok(_) => bail!("not the flags of `host serve`"),
            Err(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                bail!("{}", first.trim_start_matches("error: "))
            }
        }
    }
}

fn no_address_twice(pools: &[PoolConfig]) -> Result<()> {
    for (index, pool) in pools.iter().enumerate() {
        for other in &pools[..index] {
            let free = |spec: &&super::ListenSpec| spec.may_be_given_twice();
            let same = pool.listen.iter().filter(|spec| !free(spec));
            let mut same = same.filter(|spec| other.listen.contains(spec));
            ensure!(
                same.next().is_none(),
                "pools {} and {} listen on the same address",
                other.name,
                pool.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_do_not_see_values_of_the_environment_or_their_own_arguments() {
        let line = "--env A=secret --env=B=secret --plugin p.wasm -- mine";
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let matches = <cli::Cli as clap::CommandFactory>::command()
            .get_matches_from(["host".into(), "serve".into()].iter().chain(&line));
        let flags = matches.subcommand_matches("serve").expect("flags of serve");
        let shown = Source::new(line, flags).shown_line();
        assert_eq!(shown.join(" "), "serve --env --env --plugin p.wasm");
    }
}
