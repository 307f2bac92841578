//! The primary program's process: untrusted guest code that may ask the native primary to fork, send
//! and stop, and is told what happens. Whatever it does or leaves, this side keeps reading.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use super::epoch::Epoch;
use super::failure::Failure;
use super::granted::Granted;
use super::imports::program::{Event, Order, Program};
use super::imports::socket::Socket;
use super::imports::{Attached, Drained, Facts, Incoming, Role, Shared, Wish, exit_code};
use super::plugin::{Artifact, Plugin};
use super::settings::Settings;
use super::state::Template;
use super::stdio::Output;
use super::{LAST_WORDS, conn::Conn, file_threads, files, printed_to};
use crate::engine::{self, EngineLimits};
use crate::ipc::channel::Channel;
use crate::ipc::cluster::{Cluster, FromProgram, ToProgram};
use crate::ipc::line::Pipes;
use crate::ipc::message::brief;
use crate::sandbox::{self, Walls};
use crate::scoreboard::Scoreboard;
use crate::{event_loop, sys};

type ToPrimary = Channel<FromProgram, ToProgram>;

/// Messages to workers that do not read them keep an ending program waiting this long.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

pub fn run(walls: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(file_threads::COUNT).thread_keep_alive(file_threads::STAY);
    let runtime = event_loop::build(&mut builder)?;
    event_loop::run(&runtime, async move {
        let channel: Rc<ToPrimary> = Rc::new(Channel::new(sys::adopt_fd(sys::CHANNEL_FD)?)?);
        let (settings, cluster, fds) = match channel.recv().await? {
            Some((ToProgram::Start(settings, cluster), fds)) => (*settings, *cluster, fds),
            Some(_) => bail!("the first message was not the start"),
            None => return Ok(()),
        };
        match Running::start(walls, settings, cluster, fds).await {
            Ok(running) => {
                channel.post(&FromProgram::Ready, vec![])?;
                let code = running.follow(channel).await?;
                std::process::exit(code.into())
            }
            Err(error) => {
                // The primary says it; here it would be said twice.
                channel.post(&FromProgram::Failed(brief(&error)), vec![])?;
                channel.flush().await?;
                std::process::exit(1)
            }
        }
    })
}

struct Running {
    plugin: Rc<Plugin>,
    epoch: Epoch,
    shared: Arc<Shared>,
    stderr: Output,
    orders: mpsc::UnboundedReceiver<Order>,
    wishes: mpsc::UnboundedReceiver<Wish>,
}

impl Running {
    async fn start(
        walls: Walls,
        settings: Settings,
        cluster: Cluster,
        fds: Vec<OwnedFd>,
    ) -> Result<Running> {
        let mut fds = fds.into_iter();
        let artifact = fds.next().context("no artifact came along")?;
        let scoreboard = Scoreboard::map(&fds.next().context("no scoreboard came along")?)?;
        scoreboard.note_death()?;
        let code = sys::FileMap::sealed(&artifact)?;
        let granted = Granted::sort(&settings, &walls, fds)?;
        let dirs = granted.preopens()?;
        let facts = Facts::gather(&walls);
        // From here on bytes are read that a hijacked compiler could have chosen.
        let entered = sandbox::enter(sandbox::Role::Worker, walls, &granted.grants())?;
        let max_stack = settings.limits.max_stack_size;
        let limits = EngineLimits { max_instances: 1, max_stack };
        let engine = engine::for_artifact(&code, &limits)?;
        let (stdout, stderr) = (printed_to(1)?, printed_to(2)?);
        let (sender, orders) = mpsc::unbounded_channel();
        let max_message = settings.process.max_message_size as usize;
        let program = Some(Program::new(cluster, max_message, sender));
        let attached = Attached { facts, messages: None, program };
        let (shared, wishes) = Shared::new(Role::PrimaryProgram, settings, scoreboard, attached)?;
        let template = Template::new(shared.clone(), dirs, None, (stdout, stderr.clone()));
        let from = match entered.artifact_path(&artifact) {
            Some(path) => Artifact::File(path),
            None => Artifact::Bytes(&code),
        };
        let plugin = Rc::new(Plugin::load_program(&engine, from, template).await?);
        let epoch = Epoch::start(&engine, shared.turns.clone())?;
        granted.ready().await?;
        sandbox::seal(entered)?;
        Ok(Running { plugin, epoch, shared, stderr, orders, wishes })
    }

    /// Ends with the code the process is to exit with.
    async fn follow(mut self, channel: Rc<ToPrimary>) -> Result<u8> {
        let pump = channel.clone();
        tokio::task::spawn_local(async move { pump.pump(|| {}).await });
        let mut children = self.shared.children.take_orders().context("orders for children")?;
        let guest = Guest {
            plugin: self.plugin.clone(),
            epoch: self.epoch.clone(),
            stderr: self.stderr.clone(),
        };
        let shared = self.shared.clone();
        tokio::task::spawn_local(async move {
            let code = guest.main().await;
            shared.wish(Wish::Exit(code));
        });
        let code = loop {
            tokio::select! {
                received = channel.recv() => match received? {
                    Some((message, fds)) => self.hear(message, fds)?,
                    // Without the primary nothing here has a purpose.
                    None => return Ok(0),
                },
                Some(order) = children.recv() => {
                    channel.post(&FromProgram::Child(order), vec![])?;
                }
                Some((order, fds)) = self.orders.recv() => channel.post(&order, fds)?,
                Some(wish) = self.wishes.recv() => match wish {
                    Wish::Exit(code) => break code,
                    Wish::Abort => {
                        self.plugin.template.flush_output(Duration::from_millis(100)).await;
                        std::process::abort()
                    }
                    Wish::Leave | Wish::HandBack { .. } => {}
                },
            }
        };
        while let Ok((order, fds)) = self.orders.try_recv() {
            channel.post(&order, fds)?;
        }
        self.say_the_rest().await;
        tokio::time::timeout(LAST_WORDS, channel.flush()).await.unwrap_or(Ok(()))?;
        Ok(code)
    }

    async fn say_the_rest(&self) {
        self.plugin.template.flush_output(LAST_WORDS).await;
        let Some(program) = &self.shared.program else { return };
        let sent = async {
            for worker in program.connected() {
                if let Ok(line) = program.line(worker) {
                    line.wait_sent().await;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_MESSAGES, sent).await;
    }

    fn hear(&self, message: ToProgram, mut fds: Vec<OwnedFd>) -> Result<()> {
        let Some(program) = &self.shared.program else { return Ok(()) };
        match message {
            ToProgram::Start(..) => {}
            ToProgram::Forked { worker, pid, .. } => {
                let messages = (!fds.is_empty()).then(|| Pipes::take(&mut fds.drain(..)));
                program.forked(worker, pid, messages.transpose()?)?;
            }
            ToProgram::Online(worker) => program.happened(Event::Online(worker)),
            ToProgram::Listening { worker, addresses } => {
                for address in addresses {
                    program.happened(Event::Listening(worker, address));
                }
            }
            ToProgram::Exited { worker, status, told } => program.exited(worker, status, told),
            ToProgram::Changed(cluster) => program.happened(Event::Setup(cluster)),
            ToProgram::Child(news) => self.shared.children.hear(news, fds)?,
            ToProgram::Files => files::connect(fds.pop().context("no descriptor came along")?),
            ToProgram::Signal(number) => program.happened(Event::Signal(number)),
            ToProgram::Connection(mut ends) => {
                let fd = fds.pop().context("no connection came along")?;
                let read = std::mem::take(&mut ends.read);
                let (stream, _, ends, _) = Conn::new(fd, ends)?.into_parts();
                let socket = Socket::new(stream, read.into(), None);
                program.clients.push(Incoming { socket, ends, took: None });
            }
            ToProgram::Answer { ticket, answer } => program.answered(ticket, answer),
            ToProgram::Draining => self.shared.start_draining(Drained::Alone),
            ToProgram::Over => program.over(),
        }
        Ok(())
    }
}

/// The instance and what it takes to run it.
struct Guest {
    plugin: Rc<Plugin>,
    epoch: Epoch,
    stderr: Output,
}

impl Guest {
    /// Its exit code.
    async fn main(&self) -> u8 {
        let Some(command) = &self.plugin.main else { return 1 };
        let mut store = self.plugin.store();
        match exit_code(self.epoch.in_turn(command.run(&mut store)).await) {
            Ok(code) => code,
            Err(error) => {
                let refused = store.data().memory.refused;
                let reason = Failure::trapped(&error, refused).reason();
                self.stderr.line(&reason.unwrap_or_default());
                1
            }
        }
    }
}
