//! Runs the binary to its end, for commands that should not keep running.

use super::log::Log;
use super::place::{self, HOST, Scratch};
use super::{process, wait_for};
use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

/// Runs `host` with these arguments and expects it to end by itself.
pub fn run(args: &[&str]) -> Ended {
    let mut command = Command::new(HOST);
    command.env("XDG_CACHE_HOME", place::shared_cache());
    run_command(command, args)
}

pub fn run_command(mut command: Command, args: &[&str]) -> Ended {
    let runtime = Scratch::new();
    if !command.get_envs().any(|(name, _)| name == "XDG_RUNTIME_DIR") {
        command.env("XDG_RUNTIME_DIR", runtime.path());
    }
    let (stdout, stderr) = (Log::default(), Log::default());
    let mut child = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("start host");
    let readers =
        [stdout.follow(child.stdout.take().unwrap()), stderr.follow(child.stderr.take().unwrap())];
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("host to end by itself", || child.try_wait().expect("wait for host"))
    }));
    process::signal_group(child.id(), Signal::SIGKILL);
    let _ = child.wait();
    readers.into_iter().for_each(|reader| reader.join().expect("read its output"));
    let ended = ended.unwrap_or_else(|_| {
        panic!("host {args:?} kept running; it printed {:#?} {:#?}", stdout.lines(), stderr.lines())
    });
    Ended { code: ended.code(), stdout: stdout.lines(), stderr: stderr.lines() }
}

/// `host serve` with these arguments must refuse to run: exit 1, and one line that has all `parts`.
pub fn refused(args: &[&str], parts: &[&str]) -> Ended {
    let mut all = vec!["serve"];
    if !args.contains(&"--listen") {
        all.extend(["--listen", "127.0.0.1:0"]);
    }
    all.extend(args);
    let ended = run(&all);
    assert_one_line(&ended, 1, parts);
    ended
}

pub fn assert_one_line(ended: &Ended, code: i32, parts: &[&str]) {
    let Ended { code: actual, stdout, stderr } = ended;
    assert_eq!(*actual, Some(code), "exit code; it printed {stderr:#?}");
    assert_eq!(stderr.len(), 1, "lines on stderr: {stderr:#?}");
    assert_eq!(stdout.len(), 0, "lines on stdout: {stdout:#?}");
    assert!(stderr[0].starts_with("host: "), "{stderr:?}");
    for part in parts {
        assert!(stderr[0].contains(part), "no {part:?} in {stderr:?}");
    }
}
