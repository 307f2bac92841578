//! What the primary says of its cluster, in the words of `host:cluster/primary`.

use super::bindings::cluster::primary::{
    Balance, ClusterError, ClusterSettings, Event as WitEvent, ExitEvent, ListeningEvent,
    MessageEvent, WorkerCount, WorkerInfo, WorkerState,
};
use super::bindings::cluster::types::ExitStatus;
use super::ipc::message;
use super::program::Event;
use super::{Shared, address};
use crate::ipc::cluster::{Cluster, Refusal, Seen, Stage, Status};

pub fn cluster_error(refusal: Refusal) -> ClusterError {
    match refusal {
        Refusal::UnknownWorker => ClusterError::UnknownWorker,
        Refusal::WorkerGone => ClusterError::WorkerGone,
        Refusal::TooMany(most) => ClusterError::TooManyWorkers(most),
        Refusal::Invalid(why) => ClusterError::Invalid(why),
        Refusal::UnknownPlugin => ClusterError::UnknownPlugin,
        Refusal::Stopping => ClusterError::Stopping,
        Refusal::Busy => ClusterError::WouldBlock,
    }
}

pub fn worker_info(seen: Seen, connected: &[u32]) -> WorkerInfo {
    WorkerInfo {
        id: seen.id,
        pid: seen.pid,
        generation: seen.generation as u32,
        state: match seen.stage {
            Stage::Starting => WorkerState::Starting,
            Stage::Online => WorkerState::Online,
            Stage::Listening => WorkerState::Listening,
            Stage::Draining => WorkerState::Draining,
        },
        connected: connected.contains(&seen.id),
        exited_after_disconnect: seen.told,
        connections: seen.connections,
    }
}

pub fn cluster_settings(cluster: Cluster, max_message_size: u64) -> ClusterSettings {
    ClusterSettings {
        plugin: cluster.plugin,
        plugins: cluster.plugins,
        arguments: cluster.arguments,
        silent: cluster.silent,
        workers: cluster.workers.map_or(WorkerCount::Manual, WorkerCount::Supervised),
        max_workers: cluster.max_workers,
        balance: match cluster.balance.as_str() {
            "round-robin" => Balance::RoundRobin,
            "ip-hash" => Balance::IpHash,
            "shared" => Balance::Shared,
            "reuseport" => Balance::Reuseport,
            "program" => Balance::Program,
            _ => Balance::LeastConnections,
        },
        listen: cluster.listen.iter().map(address::socket).collect(),
        max_message_size,
        drain_timeout: cluster.drain_timeout_ns,
    }
}

pub fn wit_event(event: Event, shared: &Shared) -> WitEvent {
    match event {
        Event::Fork(worker) => WitEvent::Fork(worker),
        Event::Online(worker) => WitEvent::Online(worker),
        Event::Listening(worker, name) => {
            WitEvent::Listening(ListeningEvent { worker, address: address::socket(&name) })
        }
        Event::Message(worker, received) => {
            WitEvent::Message(MessageEvent { worker, message: message(received) })
        }
        Event::Disconnect(worker) => WitEvent::Disconnect(worker),
        Event::Exit { worker, status, told } => WitEvent::Exit(ExitEvent {
            worker,
            status: exit_status(status),
            exited_after_disconnect: told,
        }),
        Event::Setup(cluster) => {
            let max = shared.settings.process.max_message_size;
            WitEvent::Setup(cluster_settings(*cluster, max))
        }
        Event::Signal(number) => match address::signal(number) {
            Some(signal) => WitEvent::Signal(signal),
            None => WitEvent::Lost(1),
        },
        Event::Lost(count) => WitEvent::Lost(count),
    }
}

fn exit_status(status: Status) -> ExitStatus {
    match status {
        Status::Code(code) => ExitStatus::Code(code),
        Status::Signal(number) => match address::signal(number) {
            Some(signal) => ExitStatus::Signal(signal),
            None => ExitStatus::RealtimeSignal(number as u8),
        },
    }
}
