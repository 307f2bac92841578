//! How a walled-in process ends: with its true cause, and never later than its parent. And what
//! its walls cost.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::call::call;
use crate::sandbox::probe::{self, Found};
use crate::sandbox::{self, Role, Walls};
use crate::sys;
use crate::world::{hear, start, tell};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ending {
    Panic,
    Abort,
    StackOverflow,
    Fault,
    IllegalInstruction,
    ForbiddenCall,
    /// Killed from outside by this signal.
    Signal(i32),
    /// None: waits until its parent is gone.
    Wait,
}

/// What the primary would report: an exit code, or a signal.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    Code(i32),
    Signal(i32),
}

pub fn run(found: &Found) -> Result<usize> {
    let mut wrong = 0;
    for (ending, wanted) in [
        (Ending::Panic, Report::Code(101)),
        (Ending::Abort, Report::Signal(libc::SIGABRT)),
        (Ending::StackOverflow, Report::Signal(libc::SIGABRT)),
        (Ending::Fault, Report::Signal(libc::SIGSEGV)),
        (Ending::IllegalInstruction, Report::Signal(libc::SIGILL)),
        (Ending::ForbiddenCall, Report::Signal(libc::SIGSYS)),
        (Ending::Signal(libc::SIGTERM), Report::Signal(libc::SIGTERM)),
        (Ending::Signal(libc::SIGHUP), Report::Signal(libc::SIGHUP)),
        (Ending::Signal(libc::SIGUSR2), Report::Signal(libc::SIGUSR2)),
        (Ending::Signal(libc::SIGKILL), Report::Signal(libc::SIGKILL)),
    ] {
        let got = report(found, ending)?;
        if got != wanted {
            wrong += 1;
            println!("  WRONG: {ending:?} is reported as {got:?}");
        }
    }
    println!("  panic, abort, faults and signals of a walled-in process are reported as such");
    orphan_dies().context("a child outlives its parent")?;
    println!("  a walled-in process dies with its parent");
    cost(found)?;
    Ok(wrong)
}

fn report(found: &Found, ending: Ending) -> Result<Report> {
    let page = sys::sized_memfd("test-page", sys::PAGE)?;
    let died_by: sys::SharedMap<AtomicU64> = sys::SharedMap::new(page.as_fd())?;
    let (channel, child) = start("victim", found.walls)?;
    let order = postcard::to_stdvec(&ending)?;
    let raw = std::os::fd::AsRawFd::as_raw_fd(&page);
    sys::send_with_fds(channel.as_fd(), &order, &[raw])?;
    let _micros: u64 = hear(&channel)?.context("the victim said nothing")?;
    sandbox::selfcheck::verify(child.pid.as_raw(), found.walls)?;
    tell(&channel, &())?;
    if let Ending::Signal(number) = ending {
        child.kill(Signal::try_from(number)?);
    }
    Ok(match waitpid(child.pid, None)? {
        WaitStatus::Exited(_, code) => match died_by.get().load(Relaxed) as i32 {
            signal if signal != 0 && code == 128 + signal => Report::Signal(signal),
            _ => Report::Code(code),
        },
        WaitStatus::Signaled(_, signal, _) => Report::Signal(signal as i32),
        other => bail!("{other:?}"),
    })
}

/// The child's side.
pub fn victim(walls: &str) -> Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let channel = sys::adopt_fd(sys::CHANNEL_FD)?;
    let (ending, fds) = receive(&channel)?;
    let page: sys::SharedMap<AtomicU64> = sys::SharedMap::new(fds[0].as_fd())?;
    let page: &'static sys::SharedMap<AtomicU64> = Box::leak(Box::new(page));
    let before = Instant::now();
    sys::walls::note_fatal_signals(page.get())?;
    let entered = sandbox::enter(Role::Worker, Walls::decode(walls)?, &[])?;
    sandbox::seal(entered)?;
    tell(&channel, &(before.elapsed().as_micros() as u64))?;
    let mut byte = [0; 8];
    let _ = nix::unistd::read(&channel, &mut byte);
    match ending {
        Ending::Panic => panic!("as asked"),
        Ending::Abort => std::process::abort(),
        Ending::StackOverflow => drop(overflow(0)),
        Ending::Fault => drop(fault()),
        Ending::IllegalInstruction => illegal(),
        Ending::ForbiddenCall => drop(call(libc::SYS_kill, &[1, 0])),
        Ending::Signal(_) => std::thread::sleep(Duration::from_secs(5)),
        Ending::Wait => {
            let _ = nix::unistd::read(&channel, &mut byte);
            std::thread::sleep(Duration::from_secs(60));
        }
    }
    Ok(())
}

fn receive(channel: &OwnedFd) -> Result<(Ending, Vec<OwnedFd>)> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(channel.as_fd(), PollFlags::POLLIN)], PollTimeout::from(5000u16))?;
    let mut buffer = [0; 64];
    let (length, fds) = sys::recv_with_fds(channel.as_fd(), &mut buffer)?.context("no order")?;
    Ok((postcard::from_bytes(&buffer[..length])?, fds))
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 1000]);
    overflow(depth + 1) + room[(depth % 1000) as usize]
}

fn fault() -> u8 {
    let address = std::hint::black_box(8usize) as *const u8;
    // SAFETY: none: the point is to fault.
    unsafe { address.read_volatile() }
}

fn illegal() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none: the point is to fault.
    unsafe {
        std::arch::asm!("ud2")
    }
}

/// Starts a walled-in process, tells its pid, and waits to be killed.
pub fn keeper() -> Result<()> {
    let channel = sys::adopt_fd(sys::CHANNEL_FD)?;
    let found = probe::decide(false)?;
    let (victims, child) = start("victim", found.walls)?;
    let page = sys::sized_memfd("test-page", sys::PAGE)?;
    let raw = std::os::fd::AsRawFd::as_raw_fd(&page);
    sys::send_with_fds(victims.as_fd(), &postcard::to_stdvec(&Ending::Wait)?, &[raw])?;
    let _micros: u64 = hear(&victims)?.context("the victim said nothing")?;
    tell(&channel, &child.pid.as_raw())?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn orphan_dies() -> Result<()> {
    let (channel, keeper) = start("keeper", Walls::default())?;
    let victim: i32 = hear(&channel)?.context("the keeper said nothing")?;
    let victim = Pid::from_raw(victim);
    ensure!(is_running(victim), "it was not there to begin with");
    keeper.kill(Signal::SIGKILL);
    waitpid(keeper.pid, None)?;
    let deadline = Instant::now() + Duration::from_secs(2);
    while is_running(victim) {
        ensure!(Instant::now() < deadline, "{victim} runs 2s after its parent's death");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A zombie nobody has reaped yet is not running.
fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(pid, None).is_ok() && !stat.contains(") Z ")
}

fn cost(found: &Found) -> Result<()> {
    const TIMES: usize = 30;
    let measure = |walls: Walls| -> Result<(u64, u64)> {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let before = Instant::now();
            let page = sys::sized_memfd("test-page", sys::PAGE)?;
            let raw = std::os::fd::AsRawFd::as_raw_fd(&page);
            let (channel, child) = start("victim", walls)?;
            sys::send_with_fds(channel.as_fd(), &postcard::to_stdvec(&Ending::Wait)?, &[raw])?;
            inside.push(hear::<u64>(&channel)?.context("the victim said nothing")?);
            outside.push(before.elapsed().as_micros() as u64);
            child.kill(Signal::SIGKILL);
            waitpid(child.pid, None)?;
        }
        inside.sort();
        outside.sort();
        Ok((inside[TIMES / 2], outside[TIMES / 2]))
    };
    let (walls, with) = measure(found.walls)?;
    let (_, without) = measure(Walls::insecure())?;
    println!(
        "  cost: {walls} µs inside the child; start to sealed {with} µs, without walls {without} \
         µs (medians of {TIMES})"
    );
    Ok(())
}
