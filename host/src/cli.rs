//! The command line: clap structs, no logic. Units, defaults and limits stand beside each flag.

mod commands;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::ReloadMode;
use crate::worker::settings::Protocol;

pub use commands::*;

#[derive(Parser)]
#[command(
    name = "host",
    version,
    about = "Run a WebAssembly component as a prefork server: one sandboxed process per CPU"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve a plugin until told to stop
    Serve(Box<Serve>),
    #[command(flatten)]
    Remote(Remote),
    #[command(flatten)]
    Local(Local),
}

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    pub plugin: PluginFlags,
    #[command(flatten)]
    pub primary: PrimaryFlags,
    #[command(flatten)]
    pub listen: ListenFlags,
    #[command(flatten)]
    pub pool: PoolFlags,
    #[command(flatten)]
    pub limits: LimitFlags,
    #[command(flatten)]
    pub host: HostFlags,
    /// Arguments for the plugin, after `--`
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// What concerns the whole host; everything else can differ from pool to pool.
#[derive(Args)]
#[command(next_help_heading = "Host")]
pub struct HostFlags {
    /// Read this file first; flags win over it. It can name several plugins
    #[arg(long, value_name = "HOST.TOML")]
    pub config: Option<PathBuf>,
    /// What commands call this host by [default: the name of the plugin or the configuration file]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where commands reach this host [default: $XDG_RUNTIME_DIR/host/NAME.sock]
    #[arg(long, value_name = "PATH|off")]
    pub control: Option<String>,
    /// Serve /metrics (Prometheus), /healthz and /readyz here
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Do not read or write the artifact cache
    #[arg(long)]
    pub no_cache: bool,
    /// How long compiling a plugin may take
    #[arg(long, value_name = "TIME", default_value = "300s")]
    pub compile_timeout: String,
    /// Make no control groups: a watchdog looks at the workers' memory instead
    #[arg(long)]
    pub no_cgroups: bool,
    /// Become this user once every address is bound (name or number)
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Become this group once every address is bound (name or number)
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Run plugins without any sandbox. Whoever escapes WebAssembly then has all that this user has
    #[arg(long)]
    pub insecure_no_sandbox: bool,
    /// Log each request: `combined` or `json`, to stdout or to a file
    #[arg(long, value_name = "FORMAT[:FILE]")]
    pub access_log: Option<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Plugin")]
pub struct PluginFlags {
    /// The component to serve: .wasm or .wat; a core module with component metadata is wrapped
    #[arg(long, value_name = "FILE", required_unless_present_any = ["config", "primary"])]
    pub plugin: Option<PathBuf>,
    /// Reload when the file of the plugin, or of a program it may start, changes
    #[arg(long)]
    pub watch: bool,
    /// Set an environment variable of the plugin; `K` alone passes the host's own on
    #[arg(long = "env", value_name = "K=V")]
    pub env: Vec<String>,
    /// Set a `wasi:config` value
    #[arg(long = "set", value_name = "K=V")]
    pub set: Vec<String>,
    /// Give the plugin a directory, `:ro` for reading only
    #[arg(long = "dir", value_name = "HOST::GUEST[:ro]")]
    pub dir: Vec<String>,
    /// Let the plugin send HTTP requests to this host; without PORT to 80 and 443 only
    #[arg(long = "allow-outbound", value_name = "HOST[:PORT]")]
    pub allow_outbound: Vec<String>,
    /// Let the plugin start this program: a WebAssembly command, or a native one in a sandbox of its own.
    /// Keys: args, env, dir, uid, gid, memory, cpu, processes, files, file-size, network
    #[arg(long = "program", value_name = "NAME=PATH[,KEY=VALUE…]")]
    pub program: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Primary program")]
pub struct PrimaryFlags {
    /// A command that sees the cluster's events, sends messages and may fork; gets --env and ARGS too.
    /// Without --plugin its workers run the same component
    #[arg(long, value_name = "FILE")]
    pub primary: Option<PathBuf>,
    /// Another component that the primary program may choose with `setup`, by this name
    #[arg(long = "setup-plugin", value_name = "NAME=FILE", requires = "primary")]
    pub setup_plugin: Vec<String>,
    /// Give the primary program a directory, `:ro` for reading only; it has none of --dir's
    #[arg(long = "primary-dir", value_name = "HOST::GUEST[:ro]", requires = "primary")]
    pub primary_dir: Vec<String>,
    /// Stop when the primary program ends; else the cluster goes on
    #[arg(long, requires = "primary")]
    pub exit_with_primary: bool,
    /// The largest message between a worker and the primary program
    #[arg(long, value_name = "SIZE", default_value = "1M")]
    pub max_message_size: String,
}

#[derive(Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenFlags {
    /// HOST:PORT, [V6]:PORT, :PORT, unix:/path[,mode=660], fd://N, systemd[:NAME] or none; port 0 picks
    /// a free one [default: what systemd passes, else 127.0.0.1:8080]
    #[arg(long = "listen", value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Each worker also gets a port of its own: PORT + worker id - 1, on the first --listen's host
    #[arg(long, value_name = "PORT")]
    pub listen_per_worker: Option<u16>,
    /// How connections find a worker: least-connections, round-robin, ip-hash, shared, reuseport,
    /// or program: the primary program hands them out
    #[arg(long, value_name = "POLICY", default_value = "least-connections")]
    pub balance: String,
    /// Where a plugin could serve both: requests, or raw connections
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// Connections the kernel queues before they are accepted
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub backlog: i32,
}

#[derive(Args)]
#[command(next_help_heading = "Workers")]
pub struct PoolFlags {
    /// How many workers; auto is one per CPU this process may use, manual leaves it to --primary
    /// [default: auto; manual if no --plugin is given beside --primary]
    #[arg(long, value_name = "auto|N|manual")]
    pub workers: Option<String>,
    /// How long a worker may take to say it is ready
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub ready_timeout: String,
    /// How long requests in flight may take to finish when their worker stops
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub drain_timeout: String,
    /// How a new generation takes over
    #[arg(long, value_enum, default_value = "parallel")]
    pub reload: ReloadMode,
    /// Ask each worker of a new generation for this path before it serves; 200 to 399 is healthy
    #[arg(long, value_name = "PATH")]
    pub health_path: Option<String>,
    /// A new generation that crash-loops within this time is rolled back
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub probation: String,
    /// Replace a worker after this many requests, give or take a tenth
    #[arg(long, value_name = "N")]
    pub max_requests: Option<u64>,
    /// Kill a worker or a primary program that holds more than this [default: three quarters of the machine's memory]
    #[arg(long, value_name = "SIZE")]
    pub worker_memory_limit: Option<String>,
    /// Replace a worker that has more than this resident, e.g. 512M
    #[arg(long, value_name = "SIZE")]
    pub max_worker_memory: Option<String>,
    /// Requests one instance serves, one after another; 0 is no limit
    /// [default: 1 for wasi:http 0.2, 128 for 0.3]
    #[arg(long, value_name = "N")]
    pub max_instance_reuse_count: Option<u32>,
    /// Requests one instance serves at the same time [default: 1 for wasi:http 0.2, 16 for 0.3]
    #[arg(long, value_name = "N")]
    pub max_instance_concurrent_reuse_count: Option<u32>,
    /// How long an unused instance is kept
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub idle_instance_timeout: String,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// From the request's head to the answer's; then 504. 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub request_timeout: String,
    /// Memories and tables of one instance together, e.g. 64M
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub max_memory_size: String,
    /// Instances in one worker; then 503
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_instances: u32,
    /// Requests all workers answer at the same time: each an equal part of them, then 503. 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_requests_in_flight: u32,
    /// Open connections of one worker; more wait until one is closed. 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_connections: u64,
    /// Open connections of one client address (IPv6: of its /64) to all workers; more are closed. 0 is
    /// no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_connections_per_address: u32,
    /// Stack of one call into the plugin, e.g. for deep recursion
    #[arg(long, value_name = "SIZE", default_value = "512K")]
    pub max_stack_size: String,
    /// Programs the plugin may have running
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_children: u32,
    /// What the memory limits of running programs may add up to
    #[arg(long, value_name = "SIZE", default_value = "16G")]
    pub max_children_memory: String,
    /// Processor time of all programs together within any minute; then they are killed, and none is
    /// started until the minute is over. 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub max_children_cpu: String,
    /// From the first byte of a request to the end of its head
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub header_timeout: String,
    /// How long an idle connection is kept
    #[arg(long, value_name = "TIME", default_value = "75s")]
    pub keep_alive_timeout: String,
    /// Request line and headers together; then 431
    #[arg(long, value_name = "SIZE", default_value = "64K")]
    pub max_header_size: String,
    /// Request body; then 413. 0 is no limit
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub max_body_size: String,
}
