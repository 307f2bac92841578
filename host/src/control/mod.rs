//! The commands that talk to a running host. Each is one question; the answer is printed as a table
//! for people or as JSON for programs.

pub mod client;
pub mod place;
pub mod protocol;

mod table;
mod top;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cli::{self, Format};
use client::{Client, NoHost, PROMPT};
use protocol::{LogLine, Order, Status, Target};

/// No host runs that was meant.
const NO_HOST: u8 = 3;

/// Runs one command and says how it went; a host that is not there is not a failure of ours.
pub fn run(command: cli::Remote) -> ExitCode {
    match dispatch(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader who has seen enough, as `head` does.
            let broken = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
            if error.downcast_ref().is_some_and(broken) {
                return ExitCode::SUCCESS;
            }
            match error.downcast_ref::<NoHost>() {
                Some(none) => {
                    eprintln!("host: {none}");
                    ExitCode::from(NO_HOST)
                }
                None => {
                    eprintln!("host: {}", crate::line(&error));
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn dispatch(command: cli::Remote) -> Result<()> {
    use cli::Remote;
    match command {
        Remote::Ls { format } => ls(format),
        Remote::Status { which, format } => status(&which, format),
        Remote::Reload { which, pool, plugin, set, format } => {
            let plugin = plugin.map(std::path::absolute).transpose().context("find plugin")?;
            let set = crate::config::pairs_of("--set", &set)?;
            tell(&which, format, Order::Reload { pool, plugin, set })
        }
        Remote::Scale { which, pool, to, format } => {
            tell(&which, format, Order::Scale { pool, to: target(&to)? })
        }
        Remote::Restart { which, worker, format } => {
            tell(&which, format, Order::Restart { worker })
        }
        Remote::Stop { which, now, format } => stop(&which, now, format),
        Remote::Events { which, format } => events(&which, format),
        Remote::Logs { which, follow, worker, format } => logs(&which, follow, worker, format),
        Remote::Upgrade { which, binary, format } => {
            let binary = match binary {
                Some(path) => path.canonicalize().with_context(|| path.display().to_string())?,
                None => std::env::current_exe().context("find this binary")?,
            };
            tell(&which, format, Order::Upgrade { binary })
        }
        Remote::Top { which } => top::run(find(&which)?),
    }
}

fn find(which: &cli::Which) -> Result<Client> {
    client::find(which.name.as_deref(), which.control.as_deref())
}

/// An order whose answer is a sentence.
fn tell(which: &cli::Which, format: Format, order: Order) -> Result<()> {
    let said: String = find(which)?.ask(order, None)?;
    match format {
        Format::Table => print_line(&said),
        Format::Json => print_line(&serde_json::json!({ "ok": said }).to_string()),
    }
}

fn stop(which: &cli::Which, now: bool, format: Format) -> Result<()> {
    let mut client = find(which)?;
    let said: String = client.ask(Order::Stop { now }, None)?;
    // The socket closes when the host is gone.
    while client.line().is_ok_and(|line| line.is_some()) {}
    match format {
        Format::Table => print_line(&said),
        Format::Json => print_line(&serde_json::json!({ "ok": said }).to_string()),
    }
}

fn ls(format: Format) -> Result<()> {
    let ask = |(_, mut client): (String, Client)| client.ask(Order::Status, Some(PROMPT)).ok();
    let all: Vec<Status> = client::running().into_iter().filter_map(ask).collect();
    match format {
        Format::Json => print_line(&serde_json::to_string(&all)?),
        Format::Table => print_lines(&table::hosts(&all)),
    }
}

fn status(which: &cli::Which, format: Format) -> Result<()> {
    let value: Value = find(which)?.ask(Order::Status, Some(PROMPT))?;
    match format {
        Format::Json => print_line(&value.to_string()),
        Format::Table => print_lines(&table::status(&serde_json::from_value(value)?)),
    }
}

fn events(which: &cli::Which, format: Format) -> Result<()> {
    let mut client = find(which)?;
    let _: Value = client.ask(Order::Events, None)?;
    while let Some(line) = client.line()? {
        match format {
            Format::Json => print_line(line.trim_end())?,
            Format::Table => print_line(&table::event(&serde_json::from_str(&line)?))?,
        }
    }
    Ok(())
}

fn logs(which: &cli::Which, follow: bool, worker: Option<u32>, format: Format) -> Result<()> {
    let mut client = find(which)?;
    let _: Value = client.ask(Order::Logs { follow, worker }, None)?;
    while let Some(line) = client.line()? {
        match format {
            Format::Json => print_line(line.trim_end())?,
            Format::Table => print_line(&serde_json::from_str::<LogLine>(&line)?.line)?,
        }
    }
    Ok(())
}

fn target(text: &str) -> Result<Target> {
    let number = |digits: &str| {
        digits.parse::<usize>().with_context(|| format!("scale {text}: write N, +N or -N"))
    };
    Ok(match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => Target::More(number(more)?),
        (_, Some(fewer)) => Target::Fewer(number(fewer)?),
        _ => Target::Exactly(number(text)?),
    })
}

fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn print_lines(lines: &[String]) -> Result<()> {
    lines.iter().try_for_each(|line| print_line(line))
}
