//! What a primary program is told of its pool, and what workers are told of theirs.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use anyhow::Result;

use super::WorkerId;
use super::child::End;
use super::listen::Address;
use super::pool::Pool;
use super::steering::MAX_WORKERS;
use super::workers::Worker;
use crate::config::available_cpus;
use crate::ipc::cluster::{Cluster, Status, ToProgram};
use crate::ipc::line::Pipes;
use crate::ipc::message::{SocketName, ToWorker};
use crate::sandbox::probe::{self, Found};
use crate::worker::settings::{Process, Settings};

impl Pool {
    pub fn tell(&self, message: ToProgram, fds: Vec<OwnedFd>) {
        if let Some(program) = &self.program
            && program.tell(&message, fds).is_err()
        {
            program.kill();
        }
    }

    pub fn tell_listening(&self, worker: WorkerId, addresses: Vec<SocketName>) {
        if !addresses.is_empty() {
            self.tell(ToProgram::Listening { worker: worker.0, addresses }, vec![]);
        }
    }

    pub fn tell_exit(&self, worker: &Worker, end: End) {
        let status = match end {
            End::Code(code) => Status::Code(code as u8),
            End::Signal(number) => Status::Signal(number),
        };
        self.tell(ToProgram::Exited { worker: worker.id.0, status, told: worker.told }, vec![]);
    }

    /// Signals that plugins may want to know of; what the host does about them is another matter.
    pub fn tell_signal(&self, number: i32) {
        self.tell(ToProgram::Signal(number), vec![]);
        for worker in self.workers.values() {
            let _ = worker.post(&ToWorker::Signal(number), vec![]);
        }
    }

    /// Adds to a new worker's settings what the seat and the program want; the result is the message
    /// line, the program's end first.
    pub fn equip(&self, seat: usize, settings: &mut Settings) -> Result<Option<(Pipes, Pipes)>> {
        settings.process =
            Process { is_program_too: settings.process.is_program_too, ..self.facts() };
        self.share(seat, settings);
        for (name, value) in &self.seats[seat].env {
            settings.env.retain(|(known, _)| known != name);
            settings.env.push((name.clone(), value.clone()));
        }
        let Some(program) = &self.program else { return Ok(None) };
        if let Some(arguments) = &program.changes.arguments {
            settings.args = arguments.clone();
        }
        settings.process.messages = true;
        Pipes::pair().map(Some)
    }

    pub(super) fn facts(&self) -> Process {
        let exec_path = std::env::current_exe().unwrap_or_default();
        Process {
            pid: 0,
            primary_pid: std::process::id(),
            exec_path: exec_path.to_string_lossy().into_owned(),
            exec_args: self.links.line.to_vec(),
            is_program_too: false,
            config: self.described(),
            listen: self.names(0),
            messages: false,
            max_message_size: self.config.max_message_size,
            protocol: self.config.protocol,
        }
    }

    fn described(&self) -> Vec<(String, String)> {
        let workers = match self.config.manual {
            true => "manual".to_owned(),
            false => self.config.workers.to_string(),
        };
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        // Finding out reads several files: not for every worker.
        static CPUS: OnceLock<String> = OnceLock::new();
        let cpus = CPUS.get_or_init(|| available_cpus().to_string());
        let pairs = [
            ("cpus", cpus.as_str()),
            ("target", &target),
            ("profile", profile),
            ("allocator", "pooling"),
            ("workers", &workers),
            ("balance", &self.config.balance.to_string()),
            ("sandbox", probe::found().map_or("none", Found::word)),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// The addresses that the worker in a seat serves.
    pub fn names(&self, seat: usize) -> Vec<SocketName> {
        let own = self.seats.get(seat).map(|seat| &seat.listeners[..]).unwrap_or_default();
        self.listeners.iter().chain(own).map(|listener| name(&listener.address)).collect()
    }

    pub fn cluster(&self) -> Cluster {
        let changes = self.program.as_ref().map(|program| program.changes.clone());
        let changes = changes.unwrap_or_default();
        Cluster {
            plugin: self.to_fork().config().plugin_name().to_owned(),
            plugins: self.config.choices.iter().map(|(name, _)| name.clone()).collect(),
            arguments: changes.arguments.unwrap_or_else(|| self.config.args.clone()),
            silent: changes.silent.unwrap_or(false),
            workers: (!self.config.manual).then_some(self.config.workers as u32),
            max_workers: MAX_WORKERS as u32,
            balance: self.config.balance.to_string(),
            listen: self.names(0),
            drain_timeout_ns: self.config.drain_timeout.as_nanos() as u64,
        }
    }

    pub fn is_silent(&self) -> bool {
        self.program.as_ref().is_some_and(|program| program.changes.silent == Some(true))
    }
}

fn name(address: &Address) -> SocketName {
    match address {
        Address::Tcp(address) => SocketName::Ip(*address),
        Address::Unix(path) => SocketName::Unix(path.to_string_lossy().into_owned()),
    }
}
