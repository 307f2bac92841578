//! Commands beside `host serve`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Commands for a host that runs. Exit codes: 0 done, 1 it did not work, 2 wrong usage, 3 no such
/// host is running.
#[derive(Subcommand)]
pub enum Remote {
    /// List the hosts that are running
    Ls {
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Show pools and workers of a host
    Status {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Bring up a new generation and wait until it serves; on failure the old one goes on
    Reload {
        #[command(flatten)]
        which: Which,
        /// Only this pool
        #[arg(long, value_name = "NAME")]
        pool: Option<String>,
        /// Serve this plugin from now on
        #[arg(long, value_name = "FILE")]
        plugin: Option<PathBuf>,
        /// Set a `wasi:config` value
        #[arg(long, value_name = "K=V")]
        set: Vec<String>,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Change how many workers a pool has, and wait until it has them
    Scale {
        #[command(flatten)]
        which: Which,
        /// The pool, if there are several
        #[arg(long, value_name = "NAME")]
        pool: Option<String>,
        /// This many, or so many more or fewer
        #[arg(value_name = "N|+N|-N", allow_hyphen_values = true)]
        to: String,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Replace one worker by a fresh one
    Restart {
        #[command(flatten)]
        which: Which,
        /// Its id, as `host status` shows it
        worker: u32,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Drain and stop a host, and wait until it is gone
    Stop {
        #[command(flatten)]
        which: Which,
        /// Do not wait for requests in flight
        #[arg(long)]
        now: bool,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Follow what happens: fork, online, listening, disconnect, exit, reload …
    Events {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
    },
    /// Show recent log lines of host and workers
    Logs {
        #[command(flatten)]
        which: Which,
        /// Go on with the lines to come
        #[arg(short, long)]
        follow: bool,
        /// Only this worker's
        #[arg(long, value_name = "ID")]
        worker: Option<u32>,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Watch pools and workers live
    Top {
        #[command(flatten)]
        which: Which,
    },
    /// Let another `host` binary take over listeners and connections from a running host
    Upgrade {
        #[command(flatten)]
        which: Which,
        /// The binary to start [default: the one this command runs from]
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
}

/// Commands that need no running host.
#[derive(Subcommand)]
pub enum Local {
    /// Write a small project for a plugin, ready to build and serve
    New {
        /// The language to write it in
        #[arg(long, value_enum, default_value = "rust")]
        lang: Language,
        /// The project's name and folder
        name: String,
    },
    /// Check a plugin (what it exports, imports, and which flags it needs) or a host.toml
    Check {
        /// A plugin or a file that ends in .toml
        file: PathBuf,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Compile a plugin ahead; `host serve --plugin` takes the result
    Compile {
        /// The plugin
        file: PathBuf,
        /// Where the artifact goes
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Say what protects the host on this machine, and what would protect it better
    Doctor {
        /// List the system calls each sandboxed process may make, with the reason for each
        #[arg(long)]
        system_calls: bool,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Args)]
pub struct Which {
    /// The host's name; not needed if only one is running
    #[arg(long, value_name = "NAME", conflicts_with = "control")]
    pub name: Option<String>,
    /// The path of the host's control socket
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// What `host new` has a project for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    /// JavaScript or TypeScript
    Js,
    /// A script for Node's `cluster` and `http`, unchanged
    Node,
    Python,
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}
