//! Chooses the role of this process, prints an error once, sets the exit code. A library for the
//! fuzz targets' sake alone: nothing but the program is meant to be used.

mod check;
mod cli;
mod compiler;
mod config;
mod control;
mod doctor;
mod engine;
mod event_loop;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod ipc;
mod launcher;
mod new;
mod primary;
mod resolver;
mod sandbox;
mod scoreboard;
mod sys;
mod worker;

pub use sys::alloc;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use sandbox::Walls;

/// The program.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some((title, role, walls)) = sys::role_arguments(&args) {
        sys::set_title(title);
        // What an allocator and others do at an exit only costs time: the process is gone anyway.
        sys::exit_now(child(role, walls))
    }
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("host: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let matches = cli::Cli::command().get_matches();
    let cli = cli::Cli::from_arg_matches(&matches)?;
    match cli.command {
        cli::Command::Serve(_) => {
            let line = std::env::args_os().skip(2).collect();
            let flags = matches.subcommand_matches("serve").context("flags of serve")?;
            let source = config::Source::new(line, flags);
            match source.config() {
                Ok(config) => primary::serve(config, source).map(|()| ExitCode::SUCCESS),
                Err(error) => usage(&error),
            }
        }
        cli::Command::Remote(command) => Ok(control::run(command)),
        cli::Command::Local(command) => local(command).map(|()| ExitCode::SUCCESS),
    }
}

fn local(command: cli::Local) -> Result<()> {
    match command {
        cli::Local::New { lang, name } => new::run(lang, &name),
        cli::Local::Check { file, format } => check::run(&file, format),
        cli::Local::Compile { file, output, format } => compile(&file, &output, format),
        cli::Local::Doctor { system_calls, format } => doctor::run(system_calls, format),
        cli::Local::Completions { shell } => {
            let mut out = std::io::stdout();
            clap_complete::generate(shell, &mut cli::Cli::command(), "host", &mut out);
            Ok(())
        }
    }
}

fn compile(file: &Path, output: &Path, format: cli::Format) -> Result<()> {
    let bytes = primary::once::compile(file, output)?;
    let (file, output) = (file.display().to_string(), output.display().to_string());
    match format {
        cli::Format::Table => println!("{file}: compiled to {output}, {bytes} bytes"),
        cli::Format::Json => {
            let said = serde_json::json!({ "plugin": file, "artifact": output, "bytes": bytes });
            println!("{said}");
        }
    }
    Ok(())
}

/// A mistake on the command line, as clap's own are: exit code 2.
fn usage(error: &anyhow::Error) -> ! {
    eprintln!("host: {}", line(error));
    std::process::exit(2)
}

/// An error as one line, without the error numbers the standard library adds.
pub fn line(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}").replace('\n', "; ");
    while let Some(start) = text.find(" (os error ") {
        let end = text[start..].find(')').map_or(text.len(), |length| start + length + 1);
        text.replace_range(start..end, "");
    }
    text
}

/// A child role: its errors travel over its channel, and to its log.
fn child(role: &str, walls: &str) -> i32 {
    let result = match role {
        sandbox::probe::ROLE => sandbox::probe::run(walls),
        "compiler" => Walls::decode(walls).and_then(compiler::run),
        "resolver" => Walls::decode(walls).and_then(resolver::run),
        "files" => Walls::decode(walls).and_then(files::run),
        "worker" => Walls::decode(walls).and_then(worker::run),
        "zygote" => Walls::decode(walls).and_then(worker::command::run),
        "launcher" => Walls::decode(walls).and_then(launcher::run),
        "primary-program" => Walls::decode(walls).and_then(worker::program::run),
        _ => return 2,
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error:#}");
            1
        }
    }
}
