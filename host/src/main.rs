//! Chooses the role of this process, prints an error once, sets the exit code.

mod cli;
mod compiler;
mod config;
mod engine;
mod ipc;
mod primary;
mod resolver;
mod scoreboard;
mod sys;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some((title, role)) = sys::role_argument(&args) {
        sys::set_title(title);
        return child(role);
    }
    match run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli) -> Result<()> {
    match cli.command {
        cli::Command::Serve(flags) => match config::Config::from_flags(*flags) {
            Ok(config) => primary::serve(config),
            Err(error) => usage(&error),
        },
    }
}

/// A mistake on the command line, as clap's own are: exit code 2.
fn usage(error: &anyhow::Error) -> ! {
    eprintln!("host: {}", line(error));
    std::process::exit(2)
}

/// An error as one line, without the error numbers the standard library adds.
fn line(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}").replace('\n', "; ");
    while let Some(start) = text.find(" (os error ") {
        let end = text[start..].find(')').map_or(text.len(), |length| start + length + 1);
        text.replace_range(start..end, "");
    }
    text
}

/// A child role: its errors travel over its channel, and to its log.
fn child(role: &str) -> ExitCode {
    let result = match role {
        "compiler" => compiler::run(),
        "resolver" => resolver::run(),
        "worker" => worker::run(),
        _ => return ExitCode::from(2),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
