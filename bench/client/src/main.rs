//! Load client that checks every answer. `http` loads a server with keep-alive, closing and HTTP/2
//! connections at once; `echo` plays ping-pong over raw TCP. The result is one JSON object on
//! stdout. Trusts nothing the server says: a wrong body is a failure like a reset.

mod control;
mod echo;
mod h1;
mod h2;
mod histogram;
mod options;
mod stats;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use options::Options;

const USAGE: &str = "usage: bench-client http  --addr A [--h2-addr A] [--path /] [--allow BODY]...
                           [--keepalive N] [--close N] [--h2 N] [--rate PER_SECOND]
                           [--duration SECONDS] [--requests N]
       bench-client echo  --addr A [--connections N] [--size BYTES] [--exchanges PER_CONNECTION]
                           [--duration SECONDS]";

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<serde_json::Value> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().context(USAGE)?;
    let options = Options::parse(arguments).context(USAGE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    match command.as_str() {
        "http" => local.block_on(&runtime, control::run(options)),
        "echo" => local.block_on(&runtime, echo::run(options)),
        other => bail!("unknown command {other}\n{USAGE}"),
    }
}
