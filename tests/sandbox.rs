//! The walls of real workers, seen from outside. What they stop is tests/escapes.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::support::{Scratch, Server, once, place, plugin, process, wait_for};

fn status_of(pid: u32, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let found = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {field}")).trim().to_owned()
}

fn link(pid: u32, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

/// Tests of walls that this machine does not allow would prove nothing.
fn full_sandbox() -> bool {
    let doctor = once::run(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{:?}", doctor.stderr);
    doctor.stdout[0].starts_with("sandbox: full (")
}

#[test]
fn the_start_up_line_says_what_the_doctor_says() {
    let server = Server::serving("hello", &[]);
    let line = server.wait_line("host: sandbox: ");
    let doctor = once::run(&["doctor"]);
    assert_eq!(line.strip_prefix("host: ").unwrap(), doctor.stdout[0]);
    server.finish();
}

/// The binary on a kernel that says it has no Landlock.
fn without_landlock() -> Command {
    let refused = std::iter::once((libc::SYS_landlock_create_ruleset, vec![])).collect();
    let (rest, answer) = (SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32));
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(refused, rest, answer, arch).expect("a filter");
    let filter: BpfProgram = filter.try_into().expect("a program of it");
    let mut command = Command::new(place::HOST);
    // SAFETY: two system calls, and nothing that allocates or locks.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(std::io::Error::other));
    }
    command
}

#[test]
fn without_landlock_the_rest_carries_it_but_no_directory_is_granted() {
    let doctor = once::run_command(without_landlock(), &["doctor"]);
    assert!(doctor.stdout[0].contains("no Landlock"), "{:?}", doctor.stdout);
    let hello = plugin("hello");
    let flags = ["serve", "--plugin", &hello, "--listen", "127.0.0.1:0", "--dir", "/tmp::/tmp:ro"];
    let parts = ["--dir /tmp: ", "no Landlock"];
    once::assert_one_line(&once::run_command(without_landlock(), &flags), 1, &parts);
    let server = Server::start_command(without_landlock(), &["--plugin", &hello]);
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn the_doctor_says_the_same_to_programs() {
    let said = once::run(&["doctor"]).stdout;
    let json = |flags: &[&str]| -> serde_json::Value {
        let ended = once::run(&[&["doctor", "--format", "json"], flags].concat());
        assert_eq!((ended.code, ended.stdout.len()), (Some(0), 1), "{:?}", ended.stderr);
        serde_json::from_str(&ended.stdout[0]).expect("JSON")
    };
    let report = json(&[]);
    assert_eq!(report["summary"], said[0].as_str());
    assert_eq!(report["full"], said[0].starts_with("sandbox: full ("));
    assert_eq!(report["walls"]["seccomp"], true);
    let advice = report["advice"].as_array().expect("advice").iter();
    let text = |advice: &serde_json::Value, key: &str| advice[key].as_str().unwrap().to_owned();
    let advice = advice.map(|one| format!("  - {}: {}", text(one, "about"), text(one, "text")));
    assert_eq!(advice.collect::<Vec<_>>(), said[1..]);
    let calls = json(&["--system-calls"]);
    let lines = calls.as_array().expect("lists").iter();
    let lines: usize = lines.map(|list| 1 + list["calls"].as_array().unwrap().len()).sum();
    assert_eq!(lines, once::run(&["doctor", "--system-calls"]).stdout.len());
}

#[test]
fn a_worker_has_a_filter_no_capabilities_and_no_way_back() {
    let server = Server::serving("hello", &["--workers", "2"]);
    for pid in server.workers() {
        assert_eq!(status_of(pid, "Seccomp"), "2");
        assert_eq!(status_of(pid, "NoNewPrivs"), "1");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status_of(pid, set), "0000000000000000", "{set}");
        }
        if nix::unistd::geteuid().is_root() {
            assert_eq!(status_of(pid, "CapBnd"), "0000000000000000");
            assert_eq!(status_of(pid, "Uid"), "65534\t65534\t65534\t65534");
            assert_eq!(status_of(pid, "Groups"), "");
        }
    }
    server.finish();
}

#[test]
fn the_resolver_is_nobody_too() {
    let server = Server::serving("hello", &["--allow-outbound", "example.com"]);
    let resolver = wait_for("the resolver", || {
        let children = process::children(server.pid()).into_iter();
        children.into_iter().find(|pid| process::title(*pid).starts_with("host: resolver"))
    });
    wait_for("its filter", || (status_of(resolver, "Seccomp") == "2").then_some(()));
    assert_eq!(status_of(resolver, "NoNewPrivs"), "1");
    assert_eq!(status_of(resolver, "CapEff"), "0000000000000000");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(status_of(resolver, "Uid"), "65534\t65534\t65534\t65534");
    }
    server.finish();
}

#[test]
fn the_process_that_opens_files_stands_behind_a_worker_s_walls() {
    let scratch = Scratch::new();
    let dir = format!("{}::/data", scratch.path().display());
    let server = Server::serving("hello", &["--dir", &dir]);
    let children = process::children(server.pid()).into_iter();
    let opener = children.into_iter().find(|pid| process::title(*pid) == "host: files");
    let (opener, worker) = (opener.expect("a process that opens files"), server.workers()[0]);
    for field in ["Seccomp", "NoNewPrivs", "CapEff", "CapBnd", "Uid", "Gid"] {
        assert_eq!(status_of(opener, field), status_of(worker, field), "{field}");
    }
    if full_sandbox() {
        let root = std::fs::read_dir(format!("/proc/{opener}/root/"));
        assert_eq!(root.expect("look into its root").count(), 0);
        assert_ne!(link(opener, "ns/net"), link(std::process::id(), "ns/net"));
    }
    server.finish();
}

#[test]
fn a_worker_shares_no_namespace_with_anybody() {
    if !full_sandbox() {
        return eprintln!("not tested: this machine allows no full sandbox");
    }
    let server = Server::serving("hello", &["--workers", "2"]);
    let workers = server.workers();
    let who = [std::process::id(), workers[0], workers[1]];
    for namespace in ["pid", "net", "mnt", "ipc", "uts", "user"] {
        let found: BTreeSet<PathBuf> =
            who.iter().map(|pid| link(*pid, &format!("ns/{namespace}"))).collect();
        assert_eq!(found.len(), 3, "{namespace}: {found:?}");
    }
    let root = std::fs::read_dir(format!("/proc/{}/root/", workers[0]));
    assert_eq!(root.expect("look into its root").count(), 0);
    server.finish();
}

#[test]
fn a_worker_holds_declared_descriptors_only() {
    let server = Server::serving("hello", &[]);
    assert_eq!(server.get("/").text(), "hello world\n");
    let worker = server.workers()[0];
    let mut sockets = 0;
    for entry in std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_str().unwrap();
        let declared = ["/dev/null", "pipe:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]"];
        let memory = ["/memfd:host-artifact", "/memfd:host-scoreboard", "/memfd:wasm-memory-image"];
        // Its own, to find the pages an instance wrote and to tell its memory; of another process
        // they would be a leak.
        let own = ["pagemap", "statm"].map(|name| format!("/proc/{worker}/{name}"));
        let known = declared.iter().chain(&memory).any(|start| target.starts_with(start))
            || own.contains(&target.to_owned());
        sockets += usize::from(target.starts_with("socket:"));
        assert!(known || target.starts_with("socket:"), "{:?} is {target}", entry.file_name());
    }
    // The channel, and the runtime's own pair of which it keeps one end twice.
    assert!(sockets <= 5, "{sockets} sockets");
    server.finish();
}

#[test]
fn a_worker_is_said_to_die_of_what_it_dies_of() {
    for (signal, name) in [
        (Signal::SIGTERM, "SIGTERM"),
        (Signal::SIGABRT, "SIGABRT"),
        (Signal::SIGUSR1, "SIGUSR1"),
        (Signal::SIGKILL, "SIGKILL"),
    ] {
        let server = Server::serving("hello", &[]);
        process::signal(server.workers()[0], signal);
        server.wait_line(&format!("worker 1 was killed by {name}"));
        wait_for("its successor", || server.workers().first().copied());
        server.finish();
    }
}

#[test]
fn without_a_sandbox_it_says_so() {
    let server = Server::serving("hello", &["--insecure-no-sandbox"]);
    server.wait_line("host: sandbox: NONE");
    assert_eq!(status_of(server.workers()[0], "Seccomp"), "0");
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}
