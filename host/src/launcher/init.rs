//! The first process in the namespaces of one native program: builds its world, starts it as the
//! second, waits for it, tells the primary, and takes with it what the program leaves behind.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeValLike;
use nix::sys::wait::Id;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::{Birth, Launcher, ToPrimary, root, walls};
use crate::ipc::child::{
    Ended, FromStarter, Identity, Limit, Native, SpawnError, ToStarter, Words,
};
use crate::ipc::cluster::Status;
use crate::sys::{self, Forked};

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const ROOT: &str = "/";

/// What it is to run.
struct Job {
    run: u64,
    words: Words,
    stdio: [Option<OwnedFd>; 3],
}

/// Tells the primary how it went. What goes wrong before there is a run is told of the run.
pub fn run(channel: ToPrimary, launcher: &Launcher, birth: Birth) -> Result<()> {
    let Birth { program, mut orders } = birth;
    let program = &launcher.programs[program];
    sys::walls::die_with_parent()?;
    nix::sys::prctl::set_dumpable(false).context("close to debuggers")?;
    sys::set_title(&format!("host: init {}", program.grant.name));
    let built = build(launcher, program);
    let Some((order, fds)) = orders.recv()? else { return Ok(()) };
    drop(orders);
    let job = Job::new(order, fds)?;
    let id = job.run;
    match built.and_then(|()| start(launcher, program, job)) {
        Ok(child) => {
            channel.send(&FromStarter::Started { run: id }, &[child.pidfd.as_fd()])?;
            if launcher.walls.others {
                // There is nothing left to do that needs them.
                sys::walls::clear_capabilities()?;
            }
            let end = wait(child.pid, program.grant.limits.cpu)?;
            channel.send(&FromStarter::Ended { run: id, end }, &[])
        }
        Err(why) => channel.send(&FromStarter::Refused { run: id, why }, &[]),
    }
}

impl Job {
    fn new(order: ToStarter, fds: Vec<OwnedFd>) -> Result<Job> {
        let ToStarter::Run { run, connected, words, .. } = order else { bail!("not a run") };
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| match wanted {
            true => fds.next().context("a descriptor is missing").map(Some),
            false => Ok(None),
        };
        let [stdin, stdout, stderr] = connected;
        let stdio = [next(stdin)?, next(stdout)?, next(stderr)?];
        Ok(Job { run, words: *words, stdio })
    }
}

fn build(launcher: &Launcher, program: &Native) -> Result<(), SpawnError> {
    if launcher.walls.mount {
        root::build(&program.file, &program.grant.dirs).map_err(failed)?;
    }
    // What is mounted cannot be exchanged any more: look at it once again.
    match Identity::of(&program.file) {
        Ok(identity) if identity == program.identity => Ok(()),
        Ok(_) => Err(SpawnError::Changed),
        Err(_) => Err(SpawnError::Missing),
    }
}

fn failed(error: anyhow::Error) -> SpawnError {
    SpawnError::Failed(format!("{error:#}"))
}

fn start(launcher: &Launcher, program: &Native, job: Job) -> Result<sys::Child, SpawnError> {
    let (told, tell) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("create pipe").map_err(failed)?;
    match sys::fork().map_err(failed)? {
        Forked::Child => {
            let why = become_program(launcher, program, job);
            // The reader waits for this or for exec, and nobody reads the exit code.
            let _ = File::from(tell).write_all(&postcard::to_stdvec(&why).unwrap_or_default());
            sys::exit_now(127)
        }
        Forked::Parent(child) => {
            drop((tell, job));
            let mut why = Vec::new();
            let _ = File::from(told).read_to_end(&mut why);
            match postcard::from_bytes(&why) {
                Ok(why) => Err(why),
                Err(_) => Ok(child),
            }
        }
    }
}

/// Comes back only with the reason why not.
fn become_program(launcher: &Launcher, program: &Native, job: Job) -> SpawnError {
    let words = &job.words;
    let prepare = || -> Result<(CString, Vec<CString>, Vec<CString>)> {
        nix::unistd::setsid().context("begin a session")?;
        connect(&job.stdio)?;
        sys::walls::default_signals()?;
        let text = |text: &str| CString::new(text).context("words of the program");
        let path = program.file.to_str().context("path of the program")?;
        let name = program.grant.path.to_str().unwrap_or(path);
        let args = [name].into_iter().chain(words.args.iter().map(String::as_str));
        let args = args.map(text).collect::<Result<_>>()?;
        let has_path = words.env.iter().any(|(name, _)| name == "PATH");
        let usual = (!has_path).then(|| format!("PATH={PATH}"));
        let given = words.env.iter().map(|(name, value)| format!("{name}={value}"));
        let env = given.chain(usual).map(|pair| text(&pair)).collect::<Result<_>>()?;
        Ok((text(path)?, args, env))
    };
    let (path, args, env) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return failed(error),
    };
    if nix::unistd::chdir(words.cwd.as_deref().unwrap_or(ROOT)).is_err() {
        return SpawnError::NoSuchDirectory;
    }
    if let Err(error) = walls::enter(launcher, program, words) {
        return failed(error);
    }
    match sys::walls::exec(&path, &args, &env) {
        Errno::E2BIG => SpawnError::TooLarge(crate::ipc::child::MAX_WORDS as u64),
        errno => SpawnError::Failed(errno.desc().to_owned()),
    }
}

fn connect(stdio: &[Option<OwnedFd>; 3]) -> Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").context("/dev/null")?;
    let fds = stdio.each_ref().map(|fd| fd.as_ref().map_or(null.as_fd(), |fd| fd.as_fd()));
    nix::unistd::dup2_stdin(fds[0]).context("connect stdin")?;
    nix::unistd::dup2_stdout(fds[1]).context("connect stdout")?;
    nix::unistd::dup2_stderr(fds[2]).context("connect stderr")
}

/// Reaps whatever the program leaves to the first process, until it has ended itself.
fn wait(program: Pid, cpu: u64) -> Result<Ended> {
    loop {
        let status = match waitid(Id::All, WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => Status::Code(code as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                Status::Signal(signal as i32)
            }
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error).context("reap program"),
        };
        // Where there is no pid namespace that ends with this process.
        let _ = killpg(program, Signal::SIGKILL);
        let limit = used_up(status, cpu).then_some(Limit::CpuTime);
        return Ok(Ended { status, limit });
    }
}

/// Whether the kernel has ended it for its processor time.
fn used_up(status: Status, cpu: u64) -> bool {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
        Some((usage.user_time() + usage.system_time()).num_seconds() as u64)
    };
    match status {
        Status::Signal(libc::SIGXCPU) => true,
        Status::Signal(libc::SIGKILL) => cpu > 0 && used().is_some_and(|used| used >= cpu),
        _ => false,
    }
}
