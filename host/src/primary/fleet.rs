//! All pools of one host: routes what happens to the pool it happened in, and what is wished for to
//! those it is meant for.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::accepted::Accepted;
use super::access_log::AccessLog;
use super::control::{Orders, Socket, Wanted};
use super::handover::{Heir, Progress};
use super::output::Output;
use super::pool::{Phase, Pool};
use super::scale::{Operation, Reply};
use super::signals::Wish;
use super::takeover::Estate;
use super::{Event, PoolId, WorkerId, metrics};
use crate::config::{Config, Source};
use crate::control::protocol::{Order, Target};

pub struct Fleet {
    pub pools: Vec<Pool>,
    pub started: Instant,
    pub output: Output,
    /// Asked again at each reload.
    pub source: Source,
    /// What was last read from it.
    pub config: Config,
    name: String,
    pub socket: Option<Socket>,
    /// What a predecessor left, until it knows that we serve.
    pub estate: Option<Estate>,
    pub heir: Option<Heir>,
    pub to_heir: mpsc::UnboundedSender<Progress>,
    /// A copy to hand on.
    pub metrics: Option<OwnedFd>,
    metrics_task: Option<JoinHandle<()>>,
    access_log: Option<Rc<AccessLog>>,
    stopping: bool,
}

impl Fleet {
    pub fn new(
        config: Config,
        source: Source,
        name: String,
        output: Output,
        access_log: Option<Rc<AccessLog>>,
        to_heir: mpsc::UnboundedSender<Progress>,
    ) -> Fleet {
        Fleet {
            pools: Vec::new(),
            started: Instant::now(),
            output,
            source,
            config,
            name,
            socket: None,
            estate: None,
            heir: None,
            to_heir,
            metrics: None,
            metrics_task: None,
            access_log,
            stopping: false,
        }
    }

    /// What commands call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The access log, once nobody writes to it any more.
    pub fn dismantle(self) -> Option<AccessLog> {
        let Fleet { pools, access_log, .. } = self;
        drop(pools);
        Rc::into_inner(access_log?)
    }

    pub fn start(&mut self) -> Result<()> {
        self.pools.iter_mut().try_for_each(Pool::start)
    }

    pub fn is_stopped(&self) -> bool {
        self.pools.iter().all(Pool::is_stopped)
    }

    /// Every worker is gone, but not yet all that a successor is to get.
    pub fn only_hands_over(&self) -> bool {
        self.stopping && self.pools.iter().all(|pool| pool.workers.is_empty())
    }

    pub fn fulfil(&mut self, wish: Wish) {
        match wish {
            Wish::Stop if !self.stopping => self.stop(),
            Wish::Stop | Wish::StopNow => self.stop_now(),
            Wish::Reload => self.reload(Default::default(), None),
            Wish::ReopenLogs => self.reopen_logs(),
            Wish::OneMore => self.scale_all(Target::More(1)),
            Wish::OneFewer => self.scale_all(Target::Fewer(1)),
            Wish::Tell(signal) => self.pools.iter().for_each(|pool| pool.tell_signal(signal)),
        }
    }

    pub fn obey(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Status(reply) => drop(reply.send(self.status())),
            Wanted::Do(order, reply) => self.carry_out(order, reply),
        }
    }

    fn carry_out(&mut self, order: Order, reply: Reply) {
        match order {
            Order::Reload { pool, plugin, set } => {
                self.reload(super::reread::Wanted { pool, plugin, set }, Some(reply));
            }
            Order::Scale { pool, to } => match self.one_pool(pool.as_deref()) {
                Ok(pool) => pool.operate(Operation::Scale(to), Some(reply)),
                Err(why) => drop(reply.send(Err(why))),
            },
            Order::Restart { worker } => self.restart(WorkerId(worker), reply),
            Order::Stop { now } => {
                let _ = reply.send(Ok(format!("{} stops", self.name)));
                if now { self.stop_now() } else { self.fulfil(Wish::Stop) }
            }
            Order::Upgrade { binary } => self.upgrade(&binary, reply),
            Order::Status | Order::Events | Order::Logs { .. } => {}
        }
    }

    pub fn stop(&mut self) {
        self.output.log("stopping");
        self.stopping = true;
        self.pools.iter_mut().for_each(Pool::stop);
    }

    pub fn stop_now(&mut self) {
        self.stopping = true;
        self.pools.iter_mut().for_each(|pool| pool.kill("told to stop now"));
    }

    pub fn serve_metrics(
        &mut self,
        listener: std::net::TcpListener,
        orders: &Orders,
    ) -> Result<()> {
        let address = listener.local_addr().context("address of metrics")?;
        self.metrics = Some(listener.try_clone().context("duplicate listener")?.into());
        let listener = tokio::net::TcpListener::from_std(listener).context("watch metrics")?;
        let task = tokio::task::spawn_local(metrics::serve(listener, orders.clone()));
        self.metrics_task = Some(task);
        self.output.log(&format!("metrics on http://{address}/metrics"));
        Ok(())
    }

    pub fn stop_metrics(&mut self) {
        self.metrics = None;
        if let Some(task) = self.metrics_task.take() {
            task.abort();
        }
    }

    /// Another process has taken over; only draining is left.
    pub fn retire(&mut self) {
        self.stopping = true;
    }

    fn scale_all(&mut self, target: Target) {
        self.pools.iter_mut().for_each(|pool| pool.operate(Operation::Scale(target), None));
    }

    fn restart(&mut self, worker: WorkerId, reply: Reply) {
        match self.pools.iter_mut().find(|pool| pool.workers.contains_key(&worker)) {
            Some(pool) => pool.operate(Operation::Restart(worker), Some(reply)),
            None => drop(reply.send(Err(format!("worker {worker}: no such worker")))),
        }
    }

    /// The pool of this name; without a name, the only one.
    fn one_pool(&mut self, name: Option<&str>) -> Result<&mut Pool, String> {
        let names: Vec<&str> = self.pools.iter().map(|pool| &pool.config.name[..]).collect();
        let all = names.join(", ");
        match name {
            None if self.pools.len() == 1 => Ok(&mut self.pools[0]),
            None => Err(format!("there are several pools: {all}; choose one with --pool")),
            Some(name) => {
                let found = self.pools.iter_mut().find(|pool| pool.config.name == name);
                found.ok_or_else(|| format!("no pool {name}; there is {all}"))
            }
        }
    }

    fn reopen_logs(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
            self.output.log("reopened the access log");
        }
    }

    pub fn dispatch(&mut self, pool: PoolId, connection: Accepted) {
        if let Some(pool) = self.pools.get_mut(pool.0) {
            pool.admit(connection);
        }
    }

    /// An error ends the host: a first generation could not start.
    pub fn react(&mut self, pool: PoolId, event: Event) -> Result<()> {
        let Some(pool) = self.pools.get_mut(pool.0) else { return Ok(()) };
        match event {
            Event::Frame(id, frame, fds) => pool.frame(id, frame, fds)?,
            Event::Broken(id, why) => pool.broken(id, &why),
            Event::CaughtUp => pool.pass_on_waiting(),
            Event::LookAgain => pool.look_again(),
            Event::Disconnected(id) => pool.disconnected(id),
            Event::Exited(id, end) => pool.exited(id, end)?,
            Event::Overdue(id) => pool.overdue(id),
            Event::Respawn(seat) => pool.respawn(seat),
            Event::ResolverGone => pool.resolver_gone(),
            Event::DrainOver(id) => pool.drain_over(id),
            Event::Compiled(number, generation) => pool.compiled(number, generation),
            Event::Recompiled(generation) => pool.recompiled(generation)?,
            Event::Confined(id, group) => pool.confined(id, group)?,
            Event::Healthy(id, health) => pool.healthy(id, health)?,
            Event::Inspect => pool.inspect(),
            Event::FileChanged if pool.phase == Phase::Serving => {
                pool.log("the plugin file has changed");
                pool.reload(Default::default());
            }
            Event::FileChanged => {}
            Event::Child(id, what) => pool.child_event(id, what),
            Event::ChildrenOverdue => pool.children_overdue(),
            Event::ProcessorTime(used) => pool.saw_processor_time(&used),
            Event::Program(frame, fds) => pool.program_says(frame, fds),
            Event::SetUp(what, loaded) => pool.has_set_up(what, loaded),
            Event::ProgramExited(end) => pool.program_exited(end),
            Event::ProgramOverdue => pool.kill_program(),
        }
        Ok(())
    }
}
