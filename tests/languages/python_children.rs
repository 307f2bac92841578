//! `host_sdk.subprocess` and `host_sdk.primary`: what a plugin in Python starts, and a primary program in Python.

use super::{built, counter, serve};
use crate::support::{Server, plugin};

/// The example with native programs and two Wasm ones: `sums` answers requests, `actor` also messages.
fn children() -> Option<Server> {
    let file = built("python/build/children.wasm")?;
    let granted = |name: &str| format!("{name}={}", plugin(name));
    let (actor, sums) = (granted("actor"), granted("sums"));
    let programs = ["cat=/bin/cat", "sh=/bin/sh,args=-c", "sleep=/bin/sleep", &actor, &sums];
    let mut args = vec!["--plugin", &file];
    programs.iter().for_each(|program| args.extend(["--program", *program]));
    Some(serve(&args))
}

fn post(server: &Server, path: &str, body: &str) -> String {
    server.connect().post(path, body.as_bytes()).text()
}

#[test]
fn run_gives_output_and_return_code_of_native_and_wasm_programs() {
    let Some(server) = children() else { return };
    assert_eq!(post(&server, "/run/cat", "some input"), "cat: 0\nsome input");
    assert_eq!(post(&server, "/run/actor/cat", "some input"), "actor: 0\nsome input");
    assert_eq!(post(&server, "/run/actor/say/this/leave/3", ""), "actor: 3\nthis\n");
    assert_eq!(post(&server, "/run/sh/kill%20-9%20$$", ""), "sh: -9\n");
    server.finish();
}

#[test]
fn run_takes_more_than_the_pipes_hold() {
    let Some(server) = children() else { return };
    let body: String = (0..1_000_000_u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let answer = post(&server, "/run/cat", &body);
    assert!(answer.strip_prefix("cat: 0\n") == Some(body.as_str()), "what came back differs");
    server.finish();
}

#[test]
fn what_goes_wrong_is_the_exception_that_python_has_for_it() {
    let Some(server) = children() else { return };
    let error = "FileNotFoundError: program rm is not granted; \
                 the operator names it with --program rm=PATH\n";
    assert_eq!(post(&server, "/run/rm", ""), error);
    let late = post(&server, "/run/sleep/60", "");
    assert!(late.starts_with("TimeoutExpired: ") && late.contains("after 1 seconds"), "{late}");
    let native = post(&server, "/ask/cat", "1");
    assert_eq!(native, "ValueError: program cat is native: it cannot have ipc=True\n");
    let gone = post(&server, "/tell/actor/say/bye", "1");
    assert_eq!(gone, "MessageError: NotConnected\n");
    server.finish();
}

#[test]
fn pipes_carry_a_dialogue_with_a_running_program() {
    let Some(server) = children() else { return };
    for program in ["cat", "actor/cat"] {
        let path = format!("/lines/{program}");
        assert_eq!(post(&server, &path, "one\ntwo\nthree\n"), "one\ntwo\nthree\n");
    }
    server.finish();
}

#[test]
fn messages_and_requests_reach_a_wasm_program_and_come_back() {
    let Some(server) = children() else { return };
    assert_eq!(post(&server, "/ask/sums", "1000\n10\n"), "500500\n55\n");
    let answer = post(&server, "/tell/actor/answer", "\"who\"\n[1]\n");
    assert_eq!(answer, "{\"got\": \"who\"}\n{\"got\": [1]}\n");
    server.finish();
}

#[test]
fn a_primary_program_in_python_counts() {
    let Some(primary) = built("python/build/counter_primary.wasm") else { return };
    counter("python/build", &primary);
}
