//! Whom a child outlives.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{ask, script, serving};
use crate::support::{DEADLINE, Server, process, settled, wait_for};

fn left(server: &Server, program: &str, args: Value, detached: bool) -> u32 {
    let stdio = json!(["ignore", "inherit", "inherit"]);
    let wanted = json!({ "program": program, "args": args, "stdio": stdio, "detached": detached });
    ask(server, "/leave", wanted)["pid"].as_u64().expect("a process id") as u32
}

fn gone(pid: u32) {
    wait_for("a child to be gone", || (!process::is_alive(pid)).then_some(()));
}

#[test]
fn a_dying_worker_takes_its_children_along_unless_they_are_detached() {
    let server = serving(&[], &[]);
    let wasm = left(&server, "actor", json!(["sleep"]), false);
    let native = left(&server, "sh", script("sleep 3600; :"), false);
    let detached = left(&server, "actor", json!(["sleep"]), true);
    let worker = server.workers()[0];
    process::signal(worker, Signal::SIGKILL);
    gone(wasm);
    gone(native);
    wait_for("the next worker", || (server.workers() != [worker]).then_some(()));
    assert!(process::is_alive(detached));
    assert!(!process::has_zombies(server.pid()));
    server.signal(Signal::SIGQUIT);
    gone(detached);
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let server = serving(&[], &[]);
    let args = script("sleep 3456 & sleep 3457 & echo $!");
    let answer = ask(&server, "/exec", json!({ "program": "sh", "args": args }));
    assert_eq!(answer["exit"], "code 0");
    let sleeping = || process::with_title("sleep 345").len();
    wait_for("its children to be gone", || (sleeping() == 0).then_some(()));
    server.finish();
}

#[test]
fn a_reload_lets_children_finish() {
    let mut server = serving(&[], &[]);
    let old = server.workers()[0];
    let text = "trap 'echo finished; exit' USR1; echo begun; while :; do sleep 0.02; done";
    let child = left(&server, "sh", script(text), false);
    server.wait_output("[worker 1 sh] begun");
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    gone(old);
    assert!(process::is_alive(child), "it ended with its worker");
    process::signal(child, Signal::SIGUSR1);
    server.wait_output("[worker 1 sh] finished");
    server.finish();
}

#[test]
fn at_the_drain_deadline_they_are_killed() {
    let mut server = serving(&[], &["--drain-timeout", "500ms"]);
    let late = left(&server, "actor", json!(["sleep"]), false);
    server.signal(Signal::SIGHUP);
    server.wait_ready(2);
    gone(late);
    let (one, two) = (
        left(&server, "sh", script("sleep 99; :"), false),
        left(&server, "actor", json!(["sleep"]), true),
    );
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_end().code(), Some(0));
    assert!(!process::is_alive(one) && !process::is_alive(two));
}

#[test]
fn a_stopping_host_waits_for_them_that_long() {
    let mut server = serving(&[], &[]);
    left(&server, "sh", script("sleep 0.5; echo finished"), false);
    server.signal(Signal::SIGTERM);
    server.wait_output("[worker 1 sh] finished");
    assert_eq!(server.wait_end().code(), Some(0));
}

#[test]
fn nobody_outlives_the_primary() {
    let server = serving(&[], &[]);
    let wasm = left(&server, "actor", json!(["sleep"]), true);
    let native = left(&server, "sh", script("sleep 3600; :"), true);
    let helpers = process::children(server.pid());
    process::signal(server.pid(), Signal::SIGKILL);
    [wasm, native].into_iter().chain(helpers).for_each(gone);
}

#[test]
fn a_zygote_that_died_is_replaced() {
    let server = serving(&[], &[]);
    let zygote = process::with_title("host: zygote actor");
    let ours = process::children(server.pid());
    let zygote = *zygote.iter().find(|pid| ours.contains(pid)).expect("a zygote");
    let child = left(&server, "actor", json!(["sleep"]), false);
    process::signal(zygote, Signal::SIGKILL);
    gone(child);
    let wanted = json!({ "program": "actor", "args": ["say", "again"] });
    let again = || ask(&server, "/exec", wanted.clone())["stdout"] == "again\n";
    wait_for("another zygote", || again().then_some(()));
    server.finish();
}

#[test]
fn spawning_leaves_nothing_behind() {
    let server = serving(&["true=/bin/true"], &[]);
    let once = || {
        for program in ["actor", "true"] {
            assert_eq!(ask(&server, "/exec", json!({ "program": program }))["exit"], "code 0");
        }
    };
    (0..20).for_each(|_| once());
    let everybody = || [vec![server.pid()], process::children(server.pid())].concat();
    let open = || everybody().into_iter().map(process::open_files).sum::<usize>();
    let (before, processes) = (settled(open), everybody().len());
    (0..200).for_each(|_| once());
    crate::support::wait_within(DEADLINE, "what is open to close", || {
        (open() <= before).then_some(())
    });
    assert_eq!(everybody().len(), processes);
    assert!(!everybody().into_iter().any(process::has_zombies));
    server.finish();
}
