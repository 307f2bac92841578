//! A worker over its memory: killed by its control group or by the watchdog, replaced, and said to be.

use crate::support::{DEADLINE, Scratch, Server, once, plugin, wait_within};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const LIMITS: [&str; 4] = ["--worker-memory-limit", "200M", "--max-memory-size", "1G"];

/// Makes the worker hold 400 MiB, again and again, until one of `words` is on stderr.
fn overfill(server: &Server, words: &[&str]) -> String {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                if let Ok(mut connection) = crate::support::Connection::try_open(server.address()) {
                    let _ = connection.try_send("GET /grow?mib=400 HTTP/1.1\r\nhost: a\r\n\r\n");
                    let _ = connection.try_response();
                }
            }
        });
        let found = std::panic::catch_unwind(|| {
            wait_within(DEADLINE, "the worker to be killed", || {
                let lines = server.stderr.lines();
                lines.iter().find(|line| words.iter().any(|word| line.contains(word))).cloned()
            })
        });
        over.store(true, Relaxed);
        found.unwrap_or_else(|_| panic!("none of {words:?} in {:#?}", server.stderr.lines()))
    })
}

fn serves_again(server: Server) {
    wait_within(DEADLINE, "a successor", || {
        let mut connection = crate::support::Connection::try_open(server.address()).ok()?;
        connection.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").ok()?;
        let response = connection.try_response().ok()??;
        (response.status() == 200).then_some(())
    });
    server.finish();
}

#[test]
fn the_watchdog_kills_a_worker_over_its_limit() {
    let server = Server::serving("fixture", &[&LIMITS[..], &["--no-cgroups"]].concat());
    assert!(server.wait_line("host: sandbox: ").contains("memory watchdog"));
    let line = overfill(&server, &["MiB; killing it"]);
    assert!(line.starts_with("host: worker 1: holds "), "{line}");
    server.wait_line("worker 1 was killed by SIGKILL; restarting it");
    serves_again(server);
}

#[test]
fn the_kernel_kills_a_worker_over_its_group_s_limit() {
    let doctor = once::run(&["doctor"]);
    if !doctor.stdout[0].contains("cgroup v") || !doctor.stdout[0].contains("memory") {
        return eprintln!("not tested: no control groups are to be had here");
    }
    let server = Server::serving("fixture", &LIMITS);
    let line = overfill(&server, &["worker 1 was killed"]);
    assert!(line.contains("SIGKILL: it held the 200 MiB its cgroup allows"), "{line}");
    serves_again(server);
}

/// A command that fills 400 MiB and then says that all is well.
const GREEDY: &str = r#"(component
    (core module $m
        (memory 1)
        (func (export "run") (result i32) (local $at i32)
            (drop (memory.grow (i32.const 6400)))
            (loop $next
                (i32.store (local.get $at) (i32.const 1))
                (local.set $at (i32.add (local.get $at) (i32.const 4096)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 419430400))))
            (i32.const 0)))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $command)))"#;

#[test]
fn the_kernel_kills_a_primary_program_over_its_group_s_limit() {
    let scratch = Scratch::new();
    let (program, hello) = (scratch.write("greedy.wat", GREEDY), plugin("hello"));
    let flags = ["--primary", &program, "--plugin", &hello];
    let server = Server::start(&[&flags[..], &LIMITS].concat());
    let grouped = server.wait_line("host: sandbox: ").contains("cgroup v");
    let line = server.wait_line("primary program greedy.wat ");
    let end = match grouped {
        true => "was killed by SIGKILL: it held the 200 MiB its cgroup allows",
        false => "exited with code 0",
    };
    assert!(line.contains(&format!("{end}; the cluster goes on")), "{line}");
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn status_tells_the_walls_of_each_worker() {
    let server = Server::serving("hello", &["--workers", "2", "--worker-memory-limit", "300M"]);
    let status = server.status();
    let full = server.wait_line("host: sandbox: ").contains("sandbox: full");
    for worker in status["pools"][0]["workers"].as_array().expect("workers") {
        let walls = &worker["walls"];
        assert_eq!(walls["seccomp"], 2);
        assert_eq!(walls["no_new_privs"], true);
        assert_eq!(walls["capabilities"], "0000000000000000");
        assert_eq!(walls["memory_limit"], 300 << 20);
        assert_eq!(walls["sandbox"], if full { "full" } else { "reduced" });
        if nix::unistd::geteuid().is_root() {
            assert_eq!(walls["uid"], 65534);
        }
    }
    let table = server.tell(&["status"]);
    assert!(table.contains("WALLS") && table.contains("300.0M"), "{table}");
    server.finish();
    let server = Server::serving("hello", &["--insecure-no-sandbox"]);
    let walls = &server.status()["pools"][0]["workers"][0]["walls"];
    assert_eq!((&walls["sandbox"], &walls["seccomp"]), (&"none".into(), &0.into()));
    server.finish();
}

#[test]
fn groups_are_gone_with_their_host() {
    let server = Server::serving("hello", &["--workers", "2"]);
    let pid = server.pid();
    let groups = || {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let roots = text.lines().filter(|line| line.contains(" - cgroup"));
        let roots: Vec<String> =
            roots.filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect();
        roots.iter().filter(|root| below(root.as_ref(), &format!("host-{pid}"), 4)).count()
    };
    let claimed = server.wait_line("host: sandbox: ").contains("cgroup v");
    assert_eq!(groups() > 0, claimed);
    server.finish();
    assert_eq!(groups(), 0);
}

/// Whether a directory of this name is somewhere below.
fn below(dir: &std::path::Path, name: &str, depth: u32) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.any(|entry| {
        entry.file_name() == name || (depth > 0 && below(&entry.path(), name, depth - 1))
    })
}
