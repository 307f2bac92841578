//! What does not fit is refused with one clear line.

use crate::support::once::refused;
use crate::support::{once, place, plugin};

#[test]
fn a_plugin_that_imports_primary_is_refused() {
    let path = plugin("counter_primary");
    let line = ["host:cluster/primary", "only a primary program (--primary) may"];
    refused(&["--plugin", &path, "--workers", "1"], &line);
}

#[test]
fn a_primary_program_that_is_no_command_is_refused() {
    let (hello, counter) = (plugin("hello"), plugin("counter"));
    let args = ["--primary", hello.as_str(), "--plugin", counter.as_str(), "--workers", "1"];
    refused(&args, &["start hello.wasm", "wasi:cli/run", "a command"]);
}

#[test]
fn a_primary_program_that_is_no_component_is_refused() {
    let scratch = place::Scratch::new();
    let broken = scratch.write("broken.wasm", b"no such thing");
    let counter = plugin("counter");
    refused(&["--primary", &broken, "--plugin", &counter], &["compile", "broken.wasm"]);
}

#[test]
fn flags_that_need_a_primary_program_say_so() {
    let hello = plugin("hello");
    for flags in [["--workers", "manual"], ["--balance", "program"]] {
        let args = [&["serve", "--plugin", &hello][..], &flags].concat();
        once::assert_one_line(&once::run(&args), 2, &[flags[1], "--primary"]);
    }
}

#[test]
fn plugins_to_set_up_have_a_name_of_their_own_and_a_file() {
    let (hello, primary) = (plugin("hello"), plugin("cluster_fixture_script"));
    let twice = format!("hello={hello}");
    for (value, parts) in [
        ("hello", &["--setup-plugin hello", "NAME=FILE"][..]),
        ("blue=/no/such.wasm", &["--setup-plugin blue", "/no/such.wasm: no such file"]),
        (&twice, &["--setup-plugin hello", "choose another"]),
    ] {
        let args = ["serve", "--plugin", &hello, "--primary", &primary, "--setup-plugin", value];
        once::assert_one_line(&once::run(&args), 2, parts);
    }
    let alone = ["serve", "--plugin", &hello, "--setup-plugin", "blue=/blue.wasm"];
    let stderr = once::run(&alone).stderr;
    assert!(stderr.iter().any(|line| line.contains("--primary")), "{stderr:?}");
}

#[test]
fn a_protocol_the_plugin_does_not_speak_is_refused() {
    let (hello, echo) = (plugin("hello"), plugin("echo-tcp"));
    refused(&["--plugin", &hello, "--protocol", "tcp"], &["--protocol tcp", "connection-handler"]);
    refused(&["--plugin", &echo, "--protocol", "http"], &["--protocol http", "connection-handler"]);
}
