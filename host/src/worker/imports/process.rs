//! `host:cluster/process`: who this process is, what it uses, and how it ends.

use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;

use super::bindings::cluster::process::{
    CpuCounters, Host, KillError, MemoryCounters, ProcessCredentials, ProcessIdentity,
    Role as WitRole, TitleError,
};
use super::bindings::cluster::types::Signal;
use super::{Ending, Role, Wish, address, pollable};
use crate::ipc::cluster::{Answer, Question};
use crate::sys;
use crate::worker::state::State;

const MAX_TITLE: usize = 64;

type Pairs = Vec<(String, String)>;

impl Host for State {
    fn identity(&mut self) -> wasmtime::Result<ProcessIdentity> {
        let settings = &self.shared.settings;
        Ok(ProcessIdentity {
            role: match self.shared.role {
                Role::Worker => WitRole::Worker,
                Role::PrimaryProgram => WitRole::PrimaryProgram,
                Role::Program => WitRole::Program,
            },
            pid: self.pid(),
            primary_pid: settings.process.primary_pid,
            worker: (self.shared.role == Role::Worker).then_some(settings.worker_id),
            generation: settings.generation as u32,
        })
    }

    fn versions(&mut self) -> wasmtime::Result<Pairs> {
        let named = [
            ("host", env!("CARGO_PKG_VERSION")),
            ("wasmtime", WASMTIME),
            ("wasi", "0.2.12 0.3.0"),
            ("host:cluster", "0.1.0"),
        ];
        Ok(named.map(|(name, version)| (name.to_owned(), version.to_owned())).into())
    }

    fn config(&mut self) -> wasmtime::Result<Pairs> {
        Ok(self.shared.settings.process.config.clone())
    }

    fn title(&mut self) -> wasmtime::Result<String> {
        let title = self.shared.title.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(self.title_before(&title))
    }

    fn set_title(&mut self, text: String) -> wasmtime::Result<Result<(), TitleError>> {
        if text.len() > MAX_TITLE {
            return Ok(Err(TitleError::TooLong(MAX_TITLE as u32)));
        }
        if text.chars().any(char::is_control) {
            return Ok(Err(TitleError::Invalid));
        }
        let text = if text.is_empty() { self.shared.settings.plugin.clone() } else { text };
        sys::set_title(&self.title_before(&text));
        *self.shared.title.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = text;
        Ok(Ok(()))
    }

    fn arch(&mut self) -> wasmtime::Result<String> {
        Ok(match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned())
    }

    fn platform(&mut self) -> wasmtime::Result<String> {
        Ok(std::env::consts::OS.to_owned())
    }

    fn exec_path(&mut self) -> wasmtime::Result<String> {
        Ok(self.shared.settings.process.exec_path.clone())
    }

    fn exec_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.shared.settings.process.exec_args.clone())
    }

    fn arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.shared.settings.arguments())
    }

    fn memory_usage(&mut self) -> wasmtime::Result<MemoryCounters> {
        Ok(MemoryCounters {
            rss: self.resident(),
            guest: self.shared.scoreboard.guest_memory.load(Relaxed),
            instance: self.memory.used(),
            instance_limit: self.memory.max(),
            process_limit: None,
        })
    }

    fn cpu_usage(&mut self) -> wasmtime::Result<CpuCounters> {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeValLike;
        let usage = getrusage(UsageWho::RUSAGE_SELF)
            .map_err(|error| wasmtime::format_err!("read processor time: {error}"))?;
        let nanos = |time: nix::sys::time::TimeVal| time.num_nanoseconds().max(0) as u64;
        Ok(CpuCounters {
            user: nanos(usage.user_time()),
            system: nanos(usage.system_time()),
            instance: None,
        })
    }

    fn uptime(&mut self) -> wasmtime::Result<u64> {
        Ok(self.shared.started.elapsed().as_nanos() as u64)
    }

    fn hrtime(&mut self) -> wasmtime::Result<u64> {
        Ok(sys::monotonic_nanos())
    }

    fn credentials(&mut self) -> wasmtime::Result<ProcessCredentials> {
        let facts = &self.shared.facts;
        Ok(ProcessCredentials {
            uid: facts.uid,
            gid: facts.gid,
            effective_uid: facts.uid,
            effective_gid: facts.gid,
            groups: facts.groups.clone(),
        })
    }

    fn exit(&mut self, code: u8) -> wasmtime::Result<()> {
        self.shared.wish(Wish::Exit(code));
        Err(wasmtime::Error::new(Ending::Process))
    }

    fn abort(&mut self) -> wasmtime::Result<()> {
        self.shared.wish(Wish::Abort);
        Err(wasmtime::Error::new(Ending::Abort))
    }

    async fn kill(&mut self, pid: u32, signal: Signal) -> wasmtime::Result<Result<(), KillError>> {
        let shared = self.shared.clone();
        if let Some(child) = shared.children.by_pid(pid) {
            let told = shared.children.signal(&child, address::signal_number(signal));
            return Ok(told.map_err(|()| KillError::NoSuchProcess));
        }
        let Some(program) = &shared.program else { return Ok(Err(KillError::NotPermitted)) };
        let Some(worker) = program.worker_of(pid) else {
            return Ok(Err(KillError::NotPermitted));
        };
        let signal = address::signal_number(signal);
        Ok(match program.ask(Question::Kill { worker, signal }).await {
            Some(Answer::No(_)) | None => Err(KillError::NoSuchProcess),
            Some(_) => Ok(()),
        })
    }

    fn draining(&mut self) -> wasmtime::Result<bool> {
        self.shared.watches_drain.store(true, Relaxed);
        Ok(self.shared.draining().is_some())
    }

    fn subscribe_draining(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let shared = self.shared.clone();
        shared.watches_drain.store(true, Relaxed);
        pollable(&mut self.table, move || shared.clone().wait_draining())
    }
}

/// Of the version this is built with; wasmtime does not tell.
const WASMTIME: &str = "48.0.8";

impl State {
    fn title_before(&self, text: &str) -> String {
        let settings = &self.shared.settings;
        match self.shared.role {
            Role::Worker => {
                let (id, generation) = (settings.worker_id, settings.generation);
                format!("host: worker {id} (gen {generation}) {text}")
            }
            Role::PrimaryProgram => format!("host: primary program {text}"),
            Role::Program => format!("host: program {text}"),
        }
    }

    /// As the primary sees it.
    fn pid(&self) -> u32 {
        let told = self.shared.settings.process.pid;
        if told > 0 {
            return told;
        }
        // The primary writes down a new process's number, and one that has just begun may ask before.
        let noted = || self.shared.scoreboard.pid.load(Relaxed) as u32;
        let deadline = Instant::now() + Duration::from_secs(1);
        while noted() == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(100));
        }
        noted()
    }

    /// Pages in memory; the second field of statm. Where that cannot be had, the most there ever were.
    fn resident(&self) -> u64 {
        if self.shared.facts.statm.is_none() {
            use nix::sys::resource::{UsageWho, getrusage};
            let usage = getrusage(UsageWho::RUSAGE_SELF);
            return usage.map_or(0, |usage| usage.max_rss().max(0) as u64 * 1024);
        }
        let mut text = [0; 128];
        let read = self.shared.facts.statm.as_ref().map(|file| file.read_at(&mut text, 0));
        let length = read.and_then(Result::ok).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
        pages.unwrap_or(0) * sys::PAGE as u64
    }
}
