//! What the store of one instance holds: the plugin's own WASI context, its resources and its
//! limits. Everything here is reachable by plugin code through the imports and only through them.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::deadline::Alarm;
use super::imports::Shared;
use super::outbound::{Hooks, Outbound};
use super::pipe;
use super::settings::Dir;
use super::stdio::{GuestOutput, Output};
use crate::scoreboard::Scoreboard;

pub struct State {
    pub table: ResourceTable,
    /// Made when the plugin first calls WASI beyond HTTP and streams; many never do, and making it
    /// costs as much as a small request.
    wasi: Option<WasiCtx>,
    template: Arc<Template>,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub memory: MemoryLimit,
    /// Of the wait with a time limit that plugin code is in.
    pub alarm: Alarm,
    /// What this instance has in common with all others of the process.
    pub shared: Arc<Shared>,
}

/// What every instance of a worker starts from.
pub struct Template {
    env: Vec<(String, String)>,
    args: Vec<String>,
    dirs: WasiFilesystemCtx,
    config: WasiConfigVariables,
    outbound: Option<Arc<Outbound>>,
    stdout: Output,
    stderr: Output,
    max_memory: u64,
    shared: Arc<Shared>,
    /// Of a program, in place of `stdout` and `stderr`.
    stdio: Option<Stdio>,
}

/// What a program's standard streams are connected to; the others lead nowhere.
pub struct Stdio {
    pub stdin: Option<pipe::Input>,
    pub stdout: Option<pipe::Output>,
    pub stderr: Option<pipe::Output>,
}

/// Granted directories, opened while the worker could still open anything.
pub struct Preopens(WasiFilesystemCtx);

impl Preopens {
    /// `fds` in the order of `dirs`. Needs /proc, so it comes before the sandbox is entered.
    pub fn open(dirs: &[Dir], fds: &[std::os::fd::OwnedFd]) -> Result<Preopens> {
        use std::os::fd::AsRawFd;
        anyhow::ensure!(
            dirs.len() == fds.len(),
            "{} directories but {} descriptors",
            dirs.len(),
            fds.len()
        );
        let mut builder = WasiCtx::builder();
        // File work runs on the worker's own thread: a second thread would cost more than the page
        // cache takes to answer.
        builder.allow_blocking_current_thread(true);
        for (dir, fd) in dirs.iter().zip(fds) {
            let perms = if dir.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            builder
                .preopened_dir(format!("/proc/self/fd/{}", fd.as_raw_fd()), &dir.guest_path, perms)
                .map_err(anyhow::Error::from)
                .with_context(|| format!("open directory {}", dir.guest_path))?;
        }
        Ok(Preopens(builder.build().filesystem().clone()))
    }
}

impl Template {
    pub fn new(
        shared: Arc<Shared>,
        dirs: Preopens,
        outbound: Option<Arc<Outbound>>,
        (stdout, stderr): (Output, Output),
    ) -> Template {
        let settings = &shared.settings;
        Template {
            env: settings.env.clone(),
            args: settings.arguments(),
            dirs: dirs.0,
            config: settings.config.iter().cloned().collect(),
            outbound,
            stdout,
            stderr,
            max_memory: settings.limits.max_memory_size,
            shared,
            stdio: None,
        }
    }

    /// For a program, whose streams are its own.
    pub fn for_program(
        shared: Arc<Shared>,
        dirs: Preopens,
        stdio: Stdio,
        null: std::os::fd::OwnedFd,
    ) -> Result<Template> {
        let nowhere = Output::new(null, std::time::Duration::ZERO).context("open null device")?;
        let template = Template::new(shared, dirs, None, (nowhere.clone(), nowhere));
        Ok(Template { stdio: Some(stdio), ..template })
    }

    pub async fn flush_output(&self, limit: std::time::Duration) {
        self.stdout.flush(limit).await;
        self.stderr.flush(limit).await;
    }

    pub fn state(self: &Arc<Self>) -> State {
        State {
            table: ResourceTable::new(),
            wasi: None,
            template: self.clone(),
            http: WasiHttpCtx::new(),
            hooks: Hooks::new(self.outbound.clone()),
            memory: MemoryLimit::new(self.max_memory, self.shared.scoreboard.clone()),
            alarm: Alarm::default(),
            shared: self.shared.clone(),
        }
    }

    fn wasi(&self) -> WasiCtx {
        let mut wasi = WasiCtx::builder();
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        wasi.envs(&self.env).args(&self.args);
        match &self.stdio {
            None => {
                wasi.stdout(GuestOutput::new(self.stdout.clone()));
                wasi.stderr(GuestOutput::new(self.stderr.clone()));
            }
            Some(stdio) => stdio.connect(&mut wasi),
        }
        let mut wasi = wasi.build();
        *wasi.filesystem() = self.dirs.clone();
        wasi
    }
}

impl Stdio {
    fn connect(&self, wasi: &mut WasiCtxBuilder) {
        if let Some(stdin) = &self.stdin {
            wasi.stdin(stdin.clone());
        }
        if let Some(stdout) = &self.stdout {
            wasi.stdout(stdout.clone());
        }
        if let Some(stderr) = &self.stderr {
            wasi.stderr(stderr.clone());
        }
    }
}

impl State {
    pub fn config(&self) -> &WasiConfigVariables {
        &self.template.config
    }
}

/// Streams and pollables need the table alone.
impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| self.template.wasi());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Bounds linear memories and tables of one instance together and shows the use in the scoreboard.
pub struct MemoryLimit {
    used: u64,
    max: u64,
    /// The plugin asked for more than it may have: the reason of the trap that likely follows.
    pub refused: bool,
    scoreboard: Scoreboard,
}

const TABLE_ELEMENT_BYTES: u64 = 8;

impl MemoryLimit {
    fn new(max: u64, scoreboard: Scoreboard) -> MemoryLimit {
        MemoryLimit { used: 0, max, refused: false, scoreboard }
    }

    pub fn used(&self) -> u64 {
        self.used
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    fn grow(&mut self, bytes: u64) -> bool {
        if self.used + bytes > self.max {
            self.refused = true;
            return false;
        }
        self.used += bytes;
        self.scoreboard.guest_memory.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        true
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        self.scoreboard.guest_memory.fetch_sub(self.used, std::sync::atomic::Ordering::Relaxed);
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current) as u64 * TABLE_ELEMENT_BYTES))
    }
}
