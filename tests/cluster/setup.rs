//! `primary.setup`: a primary program chooses what the workers to come run, and so swaps plugins itself.

use crate::support::load::{Load, Style};
use crate::support::{Scratch, Server, plugin, wait_for, wat};
use nix::sys::signal::Signal;

/// A program that takes these steps; it may choose `hello`.
fn scripted(name: &str, steps: &str, flags: &[&str]) -> Server {
    let steps = format!("STEPS={steps}");
    let (name, program) = (plugin(name), plugin("cluster_fixture_script"));
    let hello = format!("hello={}", plugin("hello"));
    let files = ["--plugin", &name, "--primary", &program, "--setup-plugin", &hello];
    Server::start(&[&files[..], &["--env", &steps], flags].concat())
}

#[test]
fn setup_and_fork_swap_the_plugin_without_a_client_noticing() {
    let steps = "fork fork listening:2 signal setup:hello fork fork listening:4 disconnect:1 \
                 disconnect:2 exit:1 exit:2";
    let mut server = scripted("fixture", steps, &["--workers", "manual"]);
    server.wait_output("listening:2: seen");
    let address = server.address();
    let loads = [Style::KeepAlive, Style::Fresh].map(|style| Load::start(address, "/", style, 4));
    loads.iter().for_each(|load| load.wait_answers(50));
    assert_eq!(server.get("/").text(), "fixture\n");
    server.signal(Signal::SIGUSR2);
    server.wait_output("exit:2: seen");
    server.wait_output("event setup hello");
    loads.iter().for_each(|load| load.wait_answers(50));
    for load in loads {
        let tally = load.stop();
        let lost = (tally.bad_status, tally.unanswered, tally.broken, tally.refused, tally.closed);
        assert_eq!(lost, (0, 0, 0, 0, 0), "{tally:?}");
    }
    assert_eq!(server.get("/").text(), "hello world\n");
    let status = server.status();
    assert_eq!(status["pools"][0]["generation"], 2, "{status}");
    // What the host starts next is what the program chose.
    server.signal(Signal::SIGHUP);
    server.wait_ready(3);
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_forked_canary_runs_beside_the_others_until_a_reload_makes_all_like_it() {
    let steps = "listening:1 settings setup:hello settings fork listening:2 signal reload";
    let mut server = scripted("fixture", steps, &["--workers", "1", "--balance", "round-robin"]);
    server.wait_output("settings: fixture of fixture hello");
    server.wait_output("settings: hello of fixture hello");
    server.wait_output("listening:2: seen");
    let both: Vec<String> = (0..2).map(|_| server.get("/").text()).collect();
    assert!(both.contains(&"fixture\n".to_owned()), "{both:?}");
    assert!(both.contains(&"hello world\n".to_owned()), "{both:?}");
    server.signal(Signal::SIGUSR2);
    server.wait_ready(3);
    for _ in 0..4 {
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    server.finish();
}

#[test]
fn setup_reads_the_file_of_a_known_name_again() {
    let scratch = Scratch::new();
    let app = scratch.write("app.wasm", std::fs::read(plugin("fixture")).unwrap());
    let program = plugin("cluster_fixture_script");
    let steps = "STEPS=fork listening:1 signal setup:app fork listening:2 disconnect:1 exit:1";
    let flags = ["--plugin", &app, "--primary", &program, "--workers", "manual", "--env", steps];
    let server = Server::start(&flags);
    server.wait_output("listening:1: seen");
    assert_eq!(server.get("/").text(), "fixture\n");
    scratch.write("app.wasm", std::fs::read(plugin("hello")).unwrap());
    server.signal(Signal::SIGUSR2);
    server.wait_output("exit:1: seen");
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn a_plugin_that_cannot_be_set_up_is_a_typed_error_and_changes_nothing() {
    let broken = format!("broken={}", wat("bad-syntax"));
    let steps = "fork setup:nowhere setup:broken settings fork listening:2 setup:hello settings";
    let flags = ["--workers", "manual", "--setup-plugin", &broken];
    let server = scripted("fixture", steps, &flags);
    server.wait_output("setup:nowhere: Err(ClusterError::UnknownPlugin)");
    server.wait_output("setup:broken: Err(ClusterError::Invalid(");
    server.wait_output("bad-syntax.wat");
    server.wait_output("settings: fixture of fixture hello broken");
    server.wait_output("listening:2: seen");
    assert_eq!(server.get("/").text(), "fixture\n");
    server.wait_output("settings: hello of fixture hello broken");
    server.finish();
}

#[test]
fn a_worker_of_the_chosen_plugin_is_replaced_by_one_of_the_same() {
    let steps = "listening:1 setup:hello fork listening:2";
    let server = scripted("fixture", steps, &["--workers", "1", "--balance", "round-robin"]);
    server.wait_output("listening:2: seen");
    assert_eq!(server.tell(&["restart", "2"]), "worker 2 was replaced");
    let seen = || (0..2).map(|_| server.get("/").text()).collect::<Vec<_>>();
    wait_for("both plugins", || {
        let both = seen();
        (both.contains(&"fixture\n".to_owned()) && both.contains(&"hello world\n".to_owned()))
            .then_some(())
    });
    server.finish();
}

#[test]
fn a_setup_during_a_reload_is_done_after_it() {
    // The reload is still loading when the next order comes.
    let steps = "listening:1 reload setup:hello settings fork listening:3 settings";
    let flags = ["--workers", "1", "--balance", "round-robin"];
    let mut server = scripted("fixture", steps, &flags);
    server.wait_ready(2);
    server.wait_output("setup:hello: Ok(())");
    server.wait_output("listening:3: seen");
    let generations = || {
        let status = server.status();
        let workers = status["pools"][0]["workers"].as_array().expect("workers").clone();
        workers.iter().map(|worker| worker["generation"].as_u64()).collect::<Vec<_>>()
    };
    wait_for("the first worker to end", || (generations() == [Some(2), Some(3)]).then_some(()));
    let both: Vec<String> = (0..2).map(|_| server.get("/").text()).collect();
    assert!(both.contains(&"hello world\n".to_owned()), "{both:?}");
    server.finish();
}

#[test]
fn the_operators_plugin_wins_over_the_programs() {
    let steps = "listening:1 setup:hello settings";
    let mut server = scripted("fixture", steps, &["--workers", "1"]);
    server.wait_output("settings: hello of fixture hello");
    let echo = plugin("echo");
    server.tell(&["reload", "--plugin", &echo]);
    server.wait_ready(3);
    server.wait_output("event setup echo");
    assert_ne!(server.get("/").text(), "hello world\n");
    server.finish();
}
