//! What the primary tells a worker before it serves: one value over the control channel, in the
//! order of `host serve`'s own options. Comes from the primary, so it is trusted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::DirGrant;
use crate::ipc::message::SocketName;
use crate::sandbox::Walls;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub worker_id: u32,
    pub generation: u64,
    /// The plugin's name for titles, logs and `argv[0]`.
    pub plugin: String,
    pub env: Vec<(String, String)>,
    pub args: Vec<String>,
    /// What `wasi:config/store` answers.
    pub config: Vec<(String, String)>,
    /// Granted directories; their open descriptors travel beside this value in the same order.
    pub dirs: Vec<Dir>,
    pub limits: Limits,
    pub access_log: Option<LogFormat>,
    pub allow_outbound: bool,
    /// Names of the programs it may start.
    pub programs: Vec<String>,
    pub process: Process,
}

impl Settings {
    /// The component's name, then what stood after `--`.
    pub fn arguments(&self) -> Vec<String> {
        std::iter::once(&self.plugin).chain(&self.args).cloned().collect()
    }

    /// Whether another process opens files for this one.
    pub fn asks_for_files(&self, walls: &Walls) -> bool {
        !self.dirs.is_empty() && !walls.insecure
    }
}

/// What `host:cluster` tells of the process and its host, as far as the process cannot know itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    pub primary_pid: u32,
    pub exec_path: String,
    pub exec_args: Vec<String>,
    /// The operator's plugin is the primary program, too: workers may name what it may use.
    pub is_program_too: bool,
    /// How the host is set up, by name.
    pub config: Vec<(String, String)>,
    pub listen: Vec<SocketName>,
    /// A message line comes along.
    pub messages: bool,
    pub max_message_size: u64,
    /// Chooses where a plugin could serve both.
    pub protocol: Option<Protocol>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Protocol {
    /// The host speaks HTTP and calls the plugin for each request.
    Http,
    /// The plugin gets the connections.
    Tcp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dir {
    pub guest_path: String,
    pub read_only: bool,
}

impl From<&DirGrant> for Dir {
    fn from(grant: &DirGrant) -> Dir {
        Dir { guest_path: grant.guest.clone(), read_only: grant.read_only }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    Combined,
    Json,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// From the first byte of a request to the head of its answer, and again between two pieces
    /// of the answer's body. Zero switches it off.
    pub request_timeout: Duration,
    /// Linear memories and tables of one instance together, in bytes.
    pub max_memory_size: u64,
    /// Live instances of this worker; a request that would need one more is answered 503.
    pub max_instances: u32,
    /// Requests that are being answered, of all workers together, or this one's share of them; one more
    /// is answered 503. 0 is no limit.
    pub max_requests_in_flight: u32,
    /// Connections it accepts itself, under `--balance shared` and `reuseport`. 0 is no limit.
    pub max_connections: u64,
    /// The primary wants to know when a connection ends.
    pub tells_ends: bool,
    /// Of plugin code, in bytes.
    pub max_stack_size: u32,
    /// Requests one instance may serve, 0 = no limit, `None` = the default of its wasi:http version.
    pub max_instance_reuse_count: Option<u32>,
    /// Requests one instance may serve at the same time (wasi:http 0.3 only).
    pub max_instance_concurrent_reuse_count: Option<u32>,
    pub idle_instance_timeout: Duration,
    pub header_timeout: Duration,
    pub keep_alive_timeout: Duration,
    /// Request line and header fields together, in bytes; more is answered 431.
    pub max_header_size: u32,
    /// Request body in bytes; more is answered 413.
    pub max_body_size: Option<u64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_timeout: Duration::from_secs(30),
            max_memory_size: 256 << 20,
            max_instances: 1000,
            max_requests_in_flight: 0,
            max_connections: 0,
            tells_ends: false,
            max_stack_size: 512 << 10,
            max_instance_reuse_count: None,
            max_instance_concurrent_reuse_count: None,
            idle_instance_timeout: Duration::from_secs(1),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            max_header_size: 64 << 10,
            max_body_size: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            worker_id: 1,
            generation: 1,
            plugin: "plugin.wasm".into(),
            env: Vec::new(),
            args: Vec::new(),
            config: Vec::new(),
            dirs: Vec::new(),
            limits: Limits::default(),
            access_log: None,
            allow_outbound: false,
            programs: Vec::new(),
            process: Process::default(),
        }
    }
}
