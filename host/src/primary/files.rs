//! Granted directories, and the process that opens what is beneath them. Each process that may use
//! them has them as descriptors, which it cannot open anything from, and a line to ask.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::child::{self, Child};
use super::compile::one_line;
use super::output::Output;
use crate::config::DirGrant;
use crate::ipc::channel::{self, Channel};
use crate::ipc::cluster::{FromProgram, ToProgram};
use crate::ipc::files::{FromFiles, ToFiles};
use crate::ipc::message::{FromWorker, ToWorker};
use crate::sandbox::{dirs, probe, selfcheck};
use crate::sys;

/// How long it may take to be behind its walls.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to have another.
const PAUSE: Duration = Duration::from_secs(1);

type ToIt = Channel<ToFiles, FromFiles>;

/// Who asks for files, and gets a new line when the old one is dead.
pub trait Asker {
    fn renew(&self, line: OwnedFd) -> Result<()>;
}

impl Asker for Channel<ToWorker, FromWorker> {
    fn renew(&self, line: OwnedFd) -> Result<()> {
        self.post(&ToWorker::Files, vec![line])
    }
}

impl Asker for Channel<ToProgram, FromProgram> {
    fn renew(&self, line: OwnedFd) -> Result<()> {
        self.post(&ToProgram::Files, vec![line])
    }
}

pub struct Files {
    dirs: Vec<OwnedFd>,
    read_only: Vec<bool>,
    /// Nobody where there is nothing to open, or no wall around those who would.
    opener: RefCell<Option<Opener>>,
    /// Who gets a new line if it dies.
    askers: RefCell<Vec<Weak<dyn Asker>>>,
    output: Output,
}

struct Opener {
    channel: Rc<ToIt>,
    process: Rc<sys::Child>,
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.process.kill(Signal::SIGKILL);
    }
}

impl Files {
    /// Returns when all of them can be used. `flag` is where the operator named them.
    pub async fn grant(flag: &str, grants: &[DirGrant], output: &Output) -> Result<Rc<Files>> {
        let walls = probe::decided()?;
        let lend =
            |dir: &DirGrant| open(flag, &dir.host).map(|fd| dirs::lend(fd, dir.read_only, walls));
        let files = Rc::new(Files {
            dirs: grants.iter().map(lend).collect::<Result<_>>()?,
            read_only: grants.iter().map(|dir| dir.read_only).collect(),
            opener: RefCell::default(),
            askers: RefCell::default(),
            output: output.clone(),
        });
        if !grants.is_empty() && !walls.insecure {
            files.start().await.context("open directories")?;
            tokio::task::spawn_local(keep(Rc::downgrade(&files)));
        }
        Ok(files)
    }

    async fn start(&self) -> Result<()> {
        let child: Child<ToFiles, FromFiles> =
            child::start("files", "host: files", "[files] ", &self.output)?;
        let first = ToFiles::Dirs { read_only: self.read_only.clone() };
        child.channel.post(&first, self.dirs()?)?;
        let answer = tokio::time::timeout(PATIENCE, child.channel.recv()).await;
        let opener = Opener { channel: Rc::new(child.channel), process: Rc::new(child.process) };
        match answer.with_context(|| format!("not ready within {PATIENCE:?}"))?? {
            Some((FromFiles::Ready, _)) => {}
            Some((FromFiles::Failed(why), _)) => bail!("{}", one_line(&why)),
            None => bail!("{}", child::wait(&opener.process.pidfd).await?.unmasked_by_code()),
        }
        selfcheck::verify(opener.process.pid.as_raw(), probe::decided()?)?;
        *self.opener.borrow_mut() = Some(opener);
        Ok(())
    }

    /// Another set of their descriptors.
    pub fn dirs(&self) -> Result<Vec<OwnedFd>> {
        let clone = |dir: &OwnedFd| dir.try_clone().context("duplicate directory");
        self.dirs.iter().map(clone).collect()
    }

    /// A new line to ask through; none where who would ask opens files itself.
    pub fn line(&self) -> Result<Option<OwnedFd>> {
        if self.dirs.is_empty() || probe::decided()?.insecure {
            return Ok(None);
        }
        let (ours, theirs) = channel::pair()?;
        // Where nobody answers just now, the line is dead until it is renewed.
        if let Some(opener) = &*self.opener.borrow() {
            let _ = opener.channel.post(&ToFiles::Line, vec![theirs]);
        }
        Ok(Some(ours))
    }

    /// It was given a line.
    pub fn remember(&self, asker: Weak<dyn Asker>) {
        let mut askers = self.askers.borrow_mut();
        askers.retain(|asker| asker.strong_count() > 0);
        askers.push(asker);
    }

    fn renew_lines(&self) -> Result<()> {
        for asker in self.askers.borrow().iter().filter_map(Weak::upgrade) {
            if let Some(line) = self.line()? {
                asker.renew(line)?;
            }
        }
        Ok(())
    }
}

/// Has another one started whenever it dies, for as long as anybody uses the directories. Until then
/// files cannot be opened; nothing else notices.
async fn keep(files: Weak<Files>) {
    loop {
        let Some(strong) = files.upgrade() else { return };
        let (channel, process) = match &*strong.opener.borrow() {
            Some(opener) => (opener.channel.clone(), opener.process.clone()),
            None => return,
        };
        drop(strong);
        tokio::select! {
            _ = channel.pump(|| {}) => {}
            // It has nothing more to say.
            _ = channel.recv() => {}
            _ = child::wait(&process.pidfd) => {}
        }
        process.kill(Signal::SIGKILL);
        let _ = child::wait(&process.pidfd).await;
        let Some(files) = files.upgrade() else { return };
        files.output.log("the process that opens files died; restarting it");
        *files.opener.borrow_mut() = None;
        while let Err(error) = files.start().await {
            files.output.log(&format!("open directories: {error:#}"));
            tokio::time::sleep(PAUSE).await;
        }
        if let Err(error) = files.renew_lines() {
            files.output.log(&format!("open directories: {error:#}"));
        }
    }
}

fn open(flag: &str, path: &Path) -> Result<OwnedFd> {
    use nix::fcntl::OFlag;
    anyhow::ensure!(
        probe::confines_paths(),
        "{flag} {}: this kernel has no Landlock (Linux 5.13 has it), and too little else would keep \
         whoever escapes beneath a directory",
        path.display()
    );
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
        .with_context(|| format!("{flag} {}", path.display()))
}
