//! Escape attempts by a process that plugin code has fully taken over. Each is made three ways:
//! without walls, where it has to work (else it proves nothing), behind single layers, and behind
//! all of them. Then every system call number against the filters, and how a walled-in process
//! dies. All of it as root, if we are root, and as nobody.
//!
//! Not the usual test harness: children are this very program again, and the parent must be
//! single-threaded to fork.

#![allow(dead_code, unused_imports)]

#[path = "../../host/src/sandbox/mod.rs"]
mod sandbox;
#[path = "../../host/src/sys/mod.rs"]
mod sys;

mod attempts;
mod call;
mod endings;
mod filters;
mod world;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some((_, role, walls)) = sys::role_arguments(&args) {
        return end(match role {
            "evil" => world::evil(walls),
            "keeper" => endings::keeper(),
            "victim" => endings::victim(walls),
            _ => sandbox::probe::run(walls),
        });
    }
    // What the test runner passes on is not for us; one word of our own is.
    let again = args.iter().any(|arg| arg == "--as-nobody");
    end(run().and_then(|()| if again { Ok(()) } else { as_nobody() }))
}

fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let found = sandbox::probe::decide(false)?;
    println!("as uid {}: {}", nix::unistd::geteuid(), found.summary(&Default::default()));
    let mut failures = attempts::run(found)?;
    failures += filters::run()?;
    failures += endings::run(found)?;
    ensure!(failures == 0, "{failures} checks failed");
    Ok(())
}

/// Root's powers could hide a hole, and nobody's lack of them could.
fn as_nobody() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let mut again = Command::new("/proc/self/exe");
    again.arg("--as-nobody").uid(65534).gid(65534).current_dir("/");
    let status = again.status().context("run again as nobody")?;
    ensure!(status.success(), "as nobody: {status}");
    Ok(())
}
