//! `host check`: what a plugin is, what it needs, and whether it can be served; or whether a
//! host.toml holds together. Plugin bytes are read by a compiler process, never here.

mod remedy;

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::cli::Format;
use crate::config::Source;
use crate::primary::once;

pub fn run(file: &Path, format: Format) -> Result<()> {
    match file.extension().is_some_and(|ending| ending == "toml") {
        true => configuration(file, format),
        false => plugin(file, format),
    }
}

fn configuration(file: &Path, format: Format) -> Result<()> {
    let config = Source::of_file(file.to_owned()).config()?;
    for pool in &config.pools {
        let plugin = pool.plugin.display().to_string();
        let (name, workers) = (&pool.name, pool.workers);
        match format {
            Format::Table => println!("pool {name}: {plugin}, {workers} workers"),
            Format::Json => println!(
                "{}",
                serde_json::json!({ "pool": name, "plugin": plugin, "workers": workers })
            ),
        }
    }
    Ok(())
}

/// What the names at a plugin's surface mean for who serves it.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Report {
    /// How it can be served.
    serves: Vec<&'static str>,
    exports: Vec<String>,
    imports: Vec<String>,
    /// What some imports do nothing without.
    flags: Vec<&'static str>,
    /// Imports no host has.
    unknown: Vec<String>,
    /// What its author may not expect.
    notes: Vec<&'static str>,
}

const LOOP: &str = "a main loop";

const SERVES: [(&str, &str); 4] = [
    ("wasi:http/incoming-handler@0.2.", "HTTP (wasi:http 0.2)"),
    ("wasi:http/handler@0.3.", "HTTP (wasi:http 0.3)"),
    ("host:cluster/connection-handler@", "raw connections"),
    ("wasi:cli/run@", LOOP),
];

const OFFERED: [&str; 8] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:config/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

const CLUSTER: &str = "host:cluster/";

const FLAGS: [(&str, &str); 4] = [
    ("wasi:http/outgoing-handler", "--allow-outbound HOST[:PORT], to send requests"),
    ("wasi:http/client", "--allow-outbound HOST[:PORT], to send requests"),
    ("wasi:filesystem/preopens", "--dir HOST::GUEST, to see files"),
    ("wasi:config/store", "--set K=V, to be configured"),
];

impl Report {
    fn new(exports: Vec<String>, imports: Vec<String>) -> Report {
        let starts = |names: &[String], start: &str| names.iter().any(|n| n.starts_with(start));
        let serves = SERVES.iter().filter(|(start, _)| starts(&exports, start));
        let flags = FLAGS.iter().filter(|(start, _)| starts(&imports, start));
        let known = |name: &str| OFFERED.iter().chain([&CLUSTER]).any(|o| name.starts_with(o));
        let offered = |name: &str| known(name) && !remedy::is_draft(name);
        let mut flags: Vec<_> = flags.map(|(_, flag)| *flag).collect();
        flags.dedup();
        let serves: Vec<_> = serves.map(|(_, words)| *words).collect();
        let note = (serves == [LOOP]).then(|| remedy::for_command(&imports)).flatten();
        Report {
            serves,
            notes: note.into_iter().collect(),
            flags,
            unknown: imports.iter().filter(|name| !offered(name)).cloned().collect(),
            exports,
            imports,
        }
    }

    fn verdict(&self) -> Result<(), String> {
        if !self.unknown.is_empty() {
            let (names, remedies) = (&self.unknown, remedy::for_imports(&self.unknown));
            let (names, remedies) = (names.join(", "), remedies.join("; "));
            return Err(format!("imports what no host offers: {names}: {remedies}"));
        }
        if self.serves.is_empty() {
            let remedy = remedy::for_exports(&self.exports);
            return Err(format!("exports nothing that can be served: {remedy}"));
        }
        Ok(())
    }
}

fn plugin(file: &Path, format: Format) -> Result<()> {
    let (exports, imports) = once::describe(file)?;
    let report = Report::new(exports, imports);
    match format {
        Format::Json => println!("{}", serde_json::to_string(&report)?),
        Format::Table => print(&report),
    }
    match report.verdict() {
        Ok(()) => Ok(()),
        Err(why) => bail!("check {}: {why}", file.display()),
    }
}

fn print(report: &Report) {
    let list = |title: &str, words: &mut dyn Iterator<Item = &str>| {
        for (index, word) in words.enumerate() {
            println!("{:<9}{word}", if index == 0 { title } else { "" });
        }
    };
    list("serves", &mut report.serves.iter().copied());
    list("exports", &mut report.exports.iter().map(String::as_str));
    list("imports", &mut report.imports.iter().map(String::as_str));
    list("flags", &mut report.flags.iter().copied());
    list("note", &mut report.notes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(exports: &[&str], imports: &[&str]) -> Report {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Report::new(own(exports), own(imports))
    }

    #[test]
    fn the_surface_says_how_it_is_served_and_what_it_needs() {
        let http = report(
            &["wasi:http/incoming-handler@0.2.12"],
            &["wasi:http/outgoing-handler@0.2.12", "wasi:io/poll@0.2.12"],
        );
        assert_eq!(http.serves, ["HTTP (wasi:http 0.2)"]);
        assert_eq!(http.flags, ["--allow-outbound HOST[:PORT], to send requests"]);
        assert_eq!(http.verdict(), Ok(()));
        let odd = report(&["run"], &["acme:db/store"]);
        assert!(
            odd.verdict().unwrap_err().starts_with("imports what no host offers: acme:db/store: ")
        );
        assert!(
            report(&["run"], &[]).verdict().unwrap_err().contains("nothing that can be served")
        );
    }
}
