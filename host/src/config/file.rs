//! host.toml: its keys are the flags of `host serve` without the dashes. Keys at the top are the
//! host's own, or every pool's; `[pool.NAME]` holds one pool's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, Args, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli;

/// Keys and what they say, as command-line arguments.
pub type Keys = BTreeMap<String, Vec<String>>;

#[derive(Debug, Default)]
pub struct File {
    /// Of the whole host.
    pub host: Keys,
    /// Of every pool that does not say otherwise.
    pub defaults: Keys,
    pub pools: Vec<(String, Keys)>,
}

/// A file larger than this is not a configuration.
const MAX_FILE: u64 = 1 << 20;

impl File {
    pub fn read(path: &Path) -> Result<File> {
        let shown = path.display();
        let size = std::fs::metadata(path).with_context(|| format!("read {shown}"))?.len();
        ensure!(size <= MAX_FILE, "read {shown}: larger than {} MiB", MAX_FILE >> 20);
        let text = std::fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
        File::parse(&text, &shown.to_string())
    }

    fn parse(text: &str, shown: &str) -> Result<File> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(1, |span| line(span.start));
            anyhow::anyhow!("{shown}:{at}: {}", error.message())
        })?;
        let known = Known::new();
        let mut file = File::default();
        for (key, value) in table.get_ref() {
            let place = || format!("{shown}:{}", line(key.span().start));
            if key.get_ref() == "pool" {
                file.pools = pools(value, &known, shown, &line).with_context(place)?;
                continue;
            }
            let (arg, of_host) = known.find(key.get_ref()).with_context(place)?;
            let values = arguments(arg, value).with_context(place)?;
            let keys = if of_host { &mut file.host } else { &mut file.defaults };
            keys.insert(key.get_ref().to_string(), values);
        }
        Ok(file)
    }
}

fn pools(
    value: &Spanned<DeValue<'_>>,
    known: &Known,
    shown: &str,
    line: &dyn Fn(usize) -> usize,
) -> Result<Vec<(String, Keys)>> {
    let wrong = "`pool` holds tables: write [pool.NAME]";
    let all = value.get_ref().as_table().context(wrong)?;
    let mut pools = Vec::new();
    for (name, value) in all {
        let pool = name.get_ref();
        super::name(pool.to_string()).ok().with_context(|| {
            format!("pool {pool}: use up to 64 letters, digits, `-`, `_` and `.`")
        })?;
        let mut keys = Keys::new();
        for (key, value) in value.get_ref().as_table().context(wrong)? {
            let place = || format!("{shown}:{}: pool {pool}", line(key.span().start));
            let (arg, of_host) = known.find(key.get_ref()).with_context(place)?;
            if of_host {
                let key = key.get_ref();
                bail!("{}: `{key}` concerns the whole host: write it above the pools", place());
            }
            let values = arguments(arg, value).with_context(place)?;
            keys.insert(key.get_ref().to_string(), values);
        }
        pools.push((pool.to_string(), keys));
    }
    ensure!(!pools.is_empty(), wrong);
    Ok(pools)
}

/// Every flag of `host serve`, by name.
struct Known {
    host: Command,
    serve: Command,
}

impl Known {
    fn new() -> Known {
        Known {
            host: cli::HostFlags::augment_args(Command::new("host")),
            serve: cli::Serve::augment_args(Command::new("serve")),
        }
    }

    /// The flag, and whether it concerns the whole host.
    fn find(&self, key: &str) -> Result<(&Arg, bool)> {
        let named = |arg: &&Arg| name_of(arg) == key && key != "config";
        if let Some(arg) = self.serve.get_arguments().find(named) {
            return Ok((arg, self.host.get_arguments().any(|arg| name_of(arg) == key)));
        }
        let names = self.serve.get_arguments().map(name_of).chain(["pool"]);
        let names = names.filter(|name| *name != "config" && *name != "help");
        let near = names.min_by_key(|name| strsim::damerau_levenshtein(name, key));
        bail!("unknown key `{key}`; the nearest is `{}`", near.unwrap_or_default())
    }
}

fn name_of(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// A key and its value as command-line arguments say them.
fn arguments(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>> {
    let name = name_of(arg);
    let takes_value = arg.get_action().takes_values();
    let several = matches!(arg.get_action(), clap::ArgAction::Append) || arg.is_last_set();
    let flag = |text: String| if arg.is_last_set() { text } else { format!("--{name}={text}") };
    match value.get_ref() {
        DeValue::Boolean(on) if !takes_value => {
            Ok(if *on { vec![format!("--{name}")] } else { Vec::new() })
        }
        _ if !takes_value => bail!("`{name}`: write true or false"),
        DeValue::Array(all) if several => {
            all.iter().map(|value| Ok(flag(scalar(name, value)?))).collect()
        }
        DeValue::Table(all) if name == "program" => {
            all.iter().map(|(key, value)| Ok(flag(program(key.get_ref(), value)?))).collect()
        }
        DeValue::Table(all) if several => {
            let pair = |(key, value): (&Spanned<_>, &Spanned<_>)| {
                Ok(flag(format!("{}={}", key.get_ref(), scalar(name, value)?)))
            };
            all.iter().map(pair).collect()
        }
        DeValue::Array(_) | DeValue::Table(_) => bail!("`{name}`: give one value"),
        _ => Ok(vec![flag(scalar(name, value)?)]),
    }
}

/// `[program.NAME]`; a path alone may stand for the table.
fn program(name: &str, value: &Spanned<DeValue<'_>>) -> Result<String> {
    let Some(table) = value.get_ref().as_table() else {
        return super::program::flag(name, &[("path".to_owned(), scalar(name, value)?)]);
    };
    let mut values = Vec::new();
    for (key, value) in table {
        let key = key.get_ref();
        let texts: Result<Vec<String>> = match value.get_ref() {
            DeValue::Array(all) => all.iter().map(|value| scalar(key, value)).collect(),
            DeValue::Table(all) => all
                .iter()
                .map(|(name, value)| Ok(format!("{}={}", name.get_ref(), scalar(key, value)?)))
                .collect(),
            _ => scalar(key, value).map(|text| vec![text]),
        };
        let texts = texts.with_context(|| format!("program {name}"))?;
        values.extend(texts.into_iter().map(|text| (key.to_string(), text)));
    }
    super::program::flag(name, &values)
}

fn scalar(name: &str, value: &Spanned<DeValue<'_>>) -> Result<String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .with_context(|| format!("`{name}`: {}", number.as_str()))?
            .to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        _ => bail!("`{name}`: write a string or a number"),
    })
}

/// Whatever the file holds, it is read, or a line of it is at fault.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = File::parse(&text, "host.toml") {
        assert!(format!("{error:#}").starts_with("host.toml:"), "{error:#} in {text:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", File::parse(text, "host.toml").unwrap_err())
    }

    #[test]
    fn keys_become_the_flags_of_the_same_name() {
        let text = "
            metrics = '127.0.0.1:9100'
            workers = 2
            no-cache = true
            [pool.api]
            plugin = 'api.wasm'
            listen = ['127.0.0.1:0', 'unix:/tmp/a']
            env = { A = 'b=c', N = 1_000 }
            args = ['one', '--two']
            [pool.web]
            plugin = 'web.wasm'
            watch = false
            setup-plugin = { blue = 'web-2.wasm' }
            [pool.web.program.sh]
            path = '/bin/sh'
            args = ['-c', 'echo a,b']
            env = { K = 1 }
            network = true";
        let file = File::parse(text, "host.toml").unwrap();
        assert_eq!(file.host["metrics"], ["--metrics=127.0.0.1:9100"]);
        assert_eq!(file.host["no-cache"], ["--no-cache"]);
        assert_eq!(file.defaults["workers"], ["--workers=2"]);
        let (name, api) = &file.pools[0];
        assert_eq!(name, "api");
        assert_eq!(api["listen"], ["--listen=127.0.0.1:0", "--listen=unix:/tmp/a"]);
        assert_eq!(api["env"], ["--env=A=b=c", "--env=N=1000"]);
        assert_eq!(api["args"], ["one", "--two"]);
        assert!(file.pools[1].1["watch"].is_empty());
        assert_eq!(file.pools[1].1["setup-plugin"], ["--setup-plugin=blue=web-2.wasm"]);
        let program = r"--program=sh=/bin/sh,args=-c,args=echo a\,b,env=K=1,network=true";
        assert_eq!(file.pools[1].1["program"], [program]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let near = error("\nwokers = 2");
        assert_eq!(near, "host.toml:2: unknown key `wokers`; the nearest is `workers`");
        let inside = error("[pool.a]\nplugin = 'a'\nlisen = ':1'");
        assert!(
            inside.contains("host.toml:3: pool a: unknown key `lisen`; the nearest is `listen`"),
            "{inside}"
        );
        assert!(error("[pool.a]\nuser = 'me'").contains("`user` concerns the whole host"));
        assert!(error("watch = 'yes'").contains("write true or false"));
        assert!(error("workers = [1]").contains("`workers`: give one value"));
        assert!(error("config = 'x'").contains("unknown key `config`"));
        assert!(error("pool = 1").contains("[pool.NAME]"));
        assert!(error("workers = = 1").starts_with("host.toml:1: "));
    }

    #[test]
    fn no_file_panics_and_every_mistake_has_a_line() {
        let samples = [
            "workers = 2\nno-cache = true\n[pool.a]\nplugin = 'a.wasm'\nlisten = ['127.0.0.1:0']",
            "metrics = '127.0.0.1:9100'\n[pool.a]\nenv = { A = 'b=c', N = 1_000 }\nargs = ['x']",
            "max-memory-size = '64M'\n[pool.a]\nwatch = false\ndir = ['/a::/b:ro']\n[pool.b]",
            "pool = 1\nwokers = 0x7fffffffffffffff\nx = [[[[{ a = 1979-05-27 }]]]]",
        ];
        let samples = samples.map(|text| text.as_bytes().to_vec());
        crate::fuzz::mutated(&samples, fuzz);
        crate::fuzz::known("config_file", fuzz);
    }
}
