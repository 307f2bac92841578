//! One running `host serve`.

use super::log::Log;
use super::once::{self, Ended};
use super::place::{self, HOST, Scratch};
use super::{DEADLINE, http, process, wait_for, wait_within};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

pub struct Server {
    child: Child,
    pub stdout: Log,
    pub stderr: Log,
    /// What the ready line names.
    pub urls: Vec<String>,
    ended: Option<ExitStatus>,
    /// Everybody who was seen to belong to it.
    seen: Vec<u32>,
    runtime: Scratch,
}

impl Server {
    /// Serves a plugin built from plugins/ and waits until it is ready.
    pub fn serving(name: &str, flags: &[&str]) -> Server {
        Server::start(&[&["--plugin", place::plugin(name).as_str()][..], flags].concat())
    }

    /// Starts `host serve` on a free port and waits until it is ready.
    pub fn start(args: &[&str]) -> Server {
        Server::start_command(Command::new(HOST), args)
    }

    /// The same for a command that the test has prepared, e.g. with its own environment.
    pub fn start_command(command: Command, args: &[&str]) -> Server {
        let mut server = Server::launch_command(command, args);
        server.wait_ready(1);
        server
    }

    /// Only starts it.
    pub fn launch(args: &[&str]) -> Server {
        Server::launch_command(Command::new(HOST), args)
    }

    pub fn launch_command(mut command: Command, args: &[&str]) -> Server {
        command.arg("serve");
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !args.contains(&"--workers") {
            command.args(["--workers", "1"]);
        }
        Server::spawn(command, args, Stdio::null())
    }

    /// Only starts it, with these flags and no others.
    pub fn launch_bare(args: &[&str]) -> Server {
        let mut command = Command::new(HOST);
        command.arg("serve");
        Server::spawn(command, args, Stdio::null())
    }

    /// Starts a command that is or becomes `host serve`.
    pub fn spawn(mut command: Command, args: &[&str], stdin: Stdio) -> Server {
        let runtime = Scratch::new();
        if !command.get_envs().any(|(name, _)| name == "XDG_CACHE_HOME") {
            command.env("XDG_CACHE_HOME", place::shared_cache());
        }
        let mut child = command
            .args(args)
            .env("XDG_RUNTIME_DIR", runtime.path())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("start host");
        let (stdout, stderr) = (Log::default(), Log::default());
        stdout.follow(child.stdout.take().unwrap());
        stderr.follow(child.stderr.take().unwrap());
        Server { child, stdout, stderr, urls: Vec::new(), ended: None, seen: Vec::new(), runtime }
    }

    /// Waits for the ready line of a generation and reads the addresses from it.
    pub fn wait_ready(&mut self, generation: u32) -> String {
        // The plugin may have to be compiled, on a machine that is busy with all the other tests.
        self.wait_ready_within(3 * DEADLINE, generation)
    }

    pub fn wait_ready_within(&mut self, limit: Duration, generation: u32) -> String {
        let end = format!(", generation {generation}");
        let ready = |line: &str| line.starts_with("host: serving ") && line.ends_with(&end);
        let line = wait_within(limit, "the ready line", || {
            assert!(self.child.try_wait().expect("wait for host").is_none(), "it has ended");
            self.stderr.find(Duration::from_millis(5), ready)
        });
        let words = line.strip_prefix("host: serving ").unwrap();
        let (urls, _) = words.split_once(" with ").expect("`with` in the ready line");
        self.urls = urls.split(", ").map(str::to_owned).collect();
        self.seen.extend(self.workers());
        line
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The binary, where it finds this host.
    pub fn client(&self) -> Command {
        let mut command = Command::new(HOST);
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        command
    }

    /// Runs a command that talks to it.
    pub fn command(&self, args: &[&str]) -> Ended {
        once::run_command(self.client(), args)
    }

    /// Runs a command that has to succeed; what it printed.
    pub fn tell(&self, args: &[&str]) -> String {
        let ended = self.command(args);
        assert_eq!(ended.code, Some(0), "host {args:?}: {:#?}", ended.stderr);
        ended.stdout.join("\n")
    }

    /// `host status --format json`.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.tell(&["status", "--format", "json"])).expect("JSON")
    }

    /// The workers of the first pool that take connections.
    pub fn serving_ids(&self) -> Vec<u64> {
        let status = self.status();
        let workers = status["pools"][0]["workers"].as_array().expect("workers").clone();
        let serving = workers.iter().filter(|worker| worker["state"] == "serving");
        serving.map(|worker| worker["id"].as_u64().expect("an id")).collect()
    }

    /// Where its control socket is.
    pub fn socket(&self, name: &str) -> std::path::PathBuf {
        self.runtime.path().join(format!("host/{name}.sock"))
    }

    /// The first TCP address, of whatever protocol.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        let schemes = ["http://", "tcp://"];
        let authority = |url: &'_ String| {
            schemes.iter().find_map(|scheme| url.strip_prefix(scheme).map(str::to_owned))
        };
        let authorities = self.urls.iter().filter_map(authority);
        authorities.map(|text| text.parse().expect("an address in the ready line")).collect()
    }

    pub fn get(&self, path: &str) -> http::Response {
        http::get(self.address(), path)
    }

    pub fn connect(&self) -> http::Connection {
        http::Connection::open(self.address())
    }

    /// The workers' process ids, by their titles, oldest worker first.
    pub fn workers(&self) -> Vec<u32> {
        self.workers_by_id().into_iter().map(|(_, pid)| pid).collect()
    }

    /// Worker id and process id.
    pub fn workers_by_id(&self) -> Vec<(u32, u32)> {
        let id = |pid| {
            let title = process::title(pid);
            title.strip_prefix("host: worker ")?.split(' ').next()?.parse().ok()
        };
        let children = process::children(self.pid()).into_iter();
        let mut found: Vec<(u32, u32)> = children.filter_map(|pid| Some((id(pid)?, pid))).collect();
        found.sort();
        found
    }

    /// Waits for a line on stderr.
    pub fn wait_line(&self, part: &str) -> String {
        let found = self.stderr.find(DEADLINE, |line| line.contains(part));
        found.unwrap_or_else(|| panic!("no line with {part:?} on stderr"))
    }

    /// Waits for a line on stdout.
    pub fn wait_output(&self, part: &str) -> String {
        let found = self.stdout.find(DEADLINE, |line| line.contains(part));
        found.unwrap_or_else(|| panic!("no line with {part:?} on stdout"))
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until the primary has ended, and all that belonged to it.
    pub fn wait_end(&mut self) -> ExitStatus {
        // A primary that has taken over is its child too, and stays.
        let children = process::children(self.pid()).into_iter();
        self.seen.extend(children.filter(|pid| process::title(*pid) != "host: primary"));
        let status = wait_for("host to end", || self.child.try_wait().expect("wait for host"));
        self.ended = Some(status);
        for pid in std::mem::take(&mut self.seen) {
            wait_for("its processes to be gone", || (!process::is_alive(pid)).then_some(()));
        }
        status
    }

    /// Stops it as an operator does and expects that all goes well.
    pub fn finish(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait_end();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let children = process::children(self.pid());
            process::signal_group(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
            children.into_iter().for_each(|pid| process::signal(pid, Signal::SIGKILL));
        }
        if std::thread::panicking() {
            eprintln!("stdout of host: {:#?}", self.stdout.lines());
            eprintln!("stderr of host: {:#?}", self.stderr.lines());
        }
    }
}
