//! The programs a generation's plugin may start: checked and loaded with the generation, so that a
//! mistake shows then and not at the first start.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, ensure};

use super::compile::{Artifact, Compiler};
use super::files::Files;
use super::output::Output;
use super::starter::{Running, Starter, Wanted};
use crate::config::{PoolConfig, ProgramGrant};
use crate::ipc::child::{Identity, Native, Spawn, SpawnError, ToStarter};
use crate::sandbox::{probe, selfcheck};
use crate::scoreboard::Scoreboard;
use crate::sys;
use crate::worker::settings::{Dir, Settings};

pub struct Programs {
    all: Vec<Program>,
    launcher: RefCell<Option<Rc<Starter>>>,
    output: Output,
    max_message: u64,
}

struct Program {
    grant: ProgramGrant,
    /// Of its file, before anything was read from it.
    identity: Identity,
    kind: Kind,
}

enum Kind {
    Wasm(Box<Wasm>),
    /// Its number for the launcher.
    Native(u32, Box<Native>),
}

struct Wasm {
    artifact: Artifact,
    files: Rc<Files>,
    zygote: RefCell<Option<Rc<Starter>>>,
}

/// A run, with the page where a Wasm program leaves what its exit code cannot say.
pub struct Started {
    pub running: Running,
    pub pid: u32,
    pub page: Option<Scoreboard>,
}

impl Programs {
    pub async fn load(config: &PoolConfig, compiler: &Compiler) -> Result<Rc<Programs>> {
        let (mut all, mut natives) = (Vec::new(), 0);
        for grant in config.programs.iter().cloned() {
            let name = grant.name.clone();
            let load = async {
                let shown = grant.path.display();
                let identity =
                    Identity::of(&grant.path).with_context(|| format!("read {shown}"))?;
                if is_wasm(&grant.path)? {
                    let wasm = Wasm::new(&grant, compiler).await?;
                    return Ok((identity, Kind::Wasm(Box::new(wasm))));
                }
                natives += 1;
                Ok((identity, Kind::Native(natives - 1, Box::new(native(&grant, identity)?))))
            };
            let loaded: Result<(Identity, Kind)> = load.await;
            let (identity, kind) = loaded.with_context(|| format!("--program {name}"))?;
            all.push(Program { grant, identity, kind });
        }
        let output = compiler.output.clone();
        let max_message = config.max_message_size;
        let programs = Programs { all, launcher: RefCell::default(), output, max_message };
        for program in &programs.all {
            let started = programs.starter(program).await;
            started.with_context(|| format!("--program {}", program.grant.name))?;
        }
        Ok(Rc::new(programs))
    }

    fn find(&self, name: &str) -> Option<&Program> {
        self.all.iter().find(|program| program.grant.name == name)
    }

    /// What a run of it may use, if it may be started like that.
    pub fn check(&self, spawn: &Spawn) -> Result<u64, SpawnError> {
        let program = self.find(&spawn.program).ok_or(SpawnError::NotGranted)?;
        let (words, grant) = (&spawn.words, &program.grant);
        if let Some(fault) = words.fault() {
            return Err(SpawnError::Invalid(fault));
        }
        let may_be = |id: Option<u32>, granted: &[u32]| id.is_none_or(|id| granted.contains(&id));
        if !may_be(words.uid, &grant.uids) || !may_be(words.gid, &grant.gids) {
            return Err(SpawnError::NotPermitted);
        }
        match &program.kind {
            // Its sandbox has one user, who may do nothing.
            Kind::Wasm(_) if words.uid.is_some() || words.gid.is_some() => {
                return Err(SpawnError::NotPermitted);
            }
            Kind::Native(..) if spawn.ipc => return Err(SpawnError::Unsupported),
            _ => {}
        }
        match Identity::of(&grant.path) {
            Ok(now) if now == program.identity => Ok(grant.limits.memory),
            Ok(_) => Err(SpawnError::Changed),
            Err(_) => Err(SpawnError::Missing),
        }
    }

    pub async fn run(
        &self,
        spawn: &Spawn,
        connected: [bool; 3],
        mut fds: Vec<OwnedFd>,
    ) -> Result<Started, SpawnError> {
        let failed = |error: anyhow::Error| SpawnError::Failed(format!("{error:#}"));
        let program = self.find(&spawn.program).ok_or(SpawnError::NotGranted)?;
        let mut words = spawn.words.clone();
        words.args.splice(0..0, program.grant.args.iter().cloned());
        words.env.retain(|(name, _)| program.grant.env.iter().all(|(granted, _)| granted != name));
        words.env.extend(program.grant.env.iter().cloned());
        let mut page = None;
        let number = match &program.kind {
            Kind::Native(number, _) => *number,
            Kind::Wasm(wasm) => {
                let (scoreboard, fd) = Scoreboard::create().map_err(failed)?;
                page = Some(scoreboard);
                let line = wasm.files.line().map_err(failed)?;
                fds.splice(0..0, [fd].into_iter().chain(line));
                0
            }
        };
        let starter = self.starter(program).await.map_err(failed)?;
        let wanted = Wanted { program: number, words, connected, ipc: spawn.ipc, fds };
        let running = starter.run(wanted).await?;
        let pid = sys::pid_of(&running.pidfd).unwrap_or(0);
        if let Some(page) = &page {
            page.pid.store(pid.into(), Relaxed);
        }
        Ok(Started { running, pid, page })
    }

    /// The process that starts it; another one if that has died.
    async fn starter(&self, program: &Program) -> Result<Rc<Starter>> {
        let place = match &program.kind {
            Kind::Wasm(wasm) => &wasm.zygote,
            Kind::Native(..) => &self.launcher,
        };
        let living = place.borrow().clone().filter(|starter| !starter.is_dead());
        if let Some(starter) = living {
            return Ok(starter);
        }
        let starter = match &program.kind {
            Kind::Wasm(wasm) => self.start_zygote(&program.grant, wasm).await?,
            Kind::Native(..) => self.start_launcher().await?,
        };
        *place.borrow_mut() = Some(starter.clone());
        Ok(starter)
    }

    async fn start_zygote(&self, grant: &ProgramGrant, wasm: &Wasm) -> Result<Rc<Starter>> {
        let mut settings = Settings { plugin: grant.name.clone(), ..Settings::default() };
        settings.dirs = grant.dirs.iter().map(Dir::from).collect();
        settings.limits.max_memory_size = grant.limits.memory;
        settings.process.primary_pid = std::process::id();
        settings.process.max_message_size = self.max_message;
        let exec_path = std::env::current_exe().unwrap_or_default();
        settings.process.exec_path = exec_path.to_string_lossy().into_owned();
        let mut fds = vec![wasm.artifact.fd.try_clone().context("duplicate artifact")?];
        fds.extend(wasm.files.dirs()?);
        let first = ToStarter::Wasm(Box::new(settings), Box::new(grant.clone()));
        let name = format!("zygote {}", grant.name);
        let starter = Starter::start("zygote", &name, (first, fds), &self.output).await?;
        selfcheck::verify(starter.pid(), probe::decided()?)?;
        Ok(starter)
    }

    async fn start_launcher(&self) -> Result<Rc<Starter>> {
        let native = |program: &Program| match &program.kind {
            Kind::Native(_, native) => Some((**native).clone()),
            Kind::Wasm(_) => None,
        };
        let all = self.all.iter().filter_map(native).collect();
        let first = ToStarter::Native(all, probe::decided()?.encode(), probe::scopes_sockets());
        Starter::start("launcher", "launcher", (first, vec![]), &self.output).await
    }

    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(|program| program.grant.name.clone()).collect()
    }
}

impl Wasm {
    async fn new(grant: &ProgramGrant, compiler: &Compiler) -> Result<Wasm> {
        let artifact = compiler.artifact(&grant.path).await?;
        let files = Files::grant("--dir", &grant.dirs, &compiler.output).await?;
        Ok(Wasm { artifact, files, zygote: RefCell::default() })
    }
}

/// By name or by content; what `host compile` leaves looks like a native program.
fn is_wasm(path: &Path) -> Result<bool> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    if matches!(ending, Some("wasm" | "wat" | "cwasm")) {
        return Ok(true);
    }
    let mut start = [0; 4];
    let mut file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    Ok(file.read_exact(&mut start).is_ok() && start == *b"\0asm")
}

fn native(grant: &ProgramGrant, identity: Identity) -> Result<Native> {
    let shown = grant.path.display();
    let file = grant.path.canonicalize().with_context(|| format!("find {shown}"))?;
    ensure!(file.is_file(), "{shown}: not a file");
    nix::unistd::access(&file, nix::unistd::AccessFlags::X_OK)
        .with_context(|| format!("run {shown}"))?;
    Ok(Native { grant: grant.clone(), file, identity })
}
