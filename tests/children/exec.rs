//! Run to the end: what a program gets, what it gives, and the limits that end it.

use serde_json::json;

use super::{ask, granted, script, serving};

#[test]
fn a_program_gets_what_the_operator_granted_before_what_the_plugin_gives() {
    let greet = granted("greet", "actor", ",args=say,args=granted,env=WHO=operator");
    let server = serving(&[&greet], &["--env", "OWN=plugin"]);
    let wanted = json!({ "program": "greet", "args": ["say", "given", "env"] });
    let answer = ask(&server, "/exec", wanted);
    assert_eq!(answer["exit"], "code 0");
    assert_eq!(answer["stdout"], "granted\ngiven\nOWN=plugin\nWHO=operator\n");
    let env = json!([["WHO", "plugin"], ["MORE", "1"]]);
    let answer = ask(&server, "/exec", json!({ "program": "greet", "args": ["env"], "env": env }));
    assert_eq!(answer["stdout"], "granted\nMORE=1\nWHO=operator\n");
    server.finish();
}

#[test]
fn a_native_program_does_too() {
    let server = serving(&["greet=/bin/sh,args=-c,args=echo $WHO $0 $1,env=WHO=operator"], &[]);
    let answer = ask(&server, "/exec", json!({ "program": "greet", "args": ["a", "b c"] }));
    assert_eq!(
        (&answer["exit"], &answer["stdout"]),
        (&json!("code 0"), &json!("operator a b c\n"))
    );
    server.finish();
}

#[test]
fn commands_of_wasi_03_run_as_well() {
    let server = serving(&[&granted("async", "program_async", "")], &[]);
    let answer = ask(&server, "/exec", json!({ "program": "async", "input": "there and back" }));
    assert_eq!(answer["stdout"], "there and back");
    assert_eq!(
        ask(&server, "/exec", json!({ "program": "async", "args": ["fail"] }))["exit"],
        "code 1"
    );
    server.finish();
}

#[test]
fn codes_and_signals_are_told_apart() {
    let server = serving(&[], &[]);
    let exit = |program: &str, args| {
        ask(&server, "/exec", json!({ "program": program, "args": args }))["exit"].clone()
    };
    // wasi:cli/exit knows success and failure only.
    assert_eq!(exit("actor", json!(["exit", "7"])), "code 1");
    assert_eq!(exit("actor", json!(["leave", "8"])), "code 8");
    assert_eq!(exit("actor", json!(["panic"])), "code 1");
    assert_eq!(exit("actor", json!(["abort"])), "signal SIGABRT");
    assert_eq!(exit("sh", script("exit 130")), "code 130");
    assert_eq!(exit("sh", script("kill -TERM $$")), "signal SIGTERM");
    assert_eq!(exit("sh", script("kill -SEGV $$")), "signal SIGSEGV");
    server.finish();
}

#[test]
fn output_and_errors_come_apart_and_as_text_or_bytes() {
    let server = serving(&[], &[]);
    let args = json!(["say", "out", "complain", "err"]);
    let answer = ask(&server, "/exec", json!({ "program": "actor", "args": args }));
    assert_eq!((&answer["stdout"], &answer["stderr"]), (&json!("out\n"), &json!("err\n")));
    let broken = script(r"printf 'a\377b'");
    let bytes = ask(&server, "/exec", json!({ "program": "sh", "args": broken }));
    let text = ask(&server, "/exec", json!({ "program": "sh", "args": broken, "text": true }));
    assert_eq!((&bytes["bytes"], &text["bytes"]), (&json!(3), &json!(5)));
    assert_eq!(text["stdout"], "a\u{fffd}b");
    server.finish();
}

#[test]
fn output_beyond_max_buffer_ends_the_program() {
    let server = serving(&[], &[]);
    let usual =
        ask(&server, "/exec", json!({ "program": "actor", "args": ["fill", "300000", "sleep"] }));
    assert_eq!(usual["exit"], "signal SIGTERM (limit: max-buffer)");
    assert_eq!(usual["bytes"], 200 << 10);
    let exact = json!({ "program": "actor", "args": ["fill", "1000"], "max_buffer": 1000 });
    assert_eq!(ask(&server, "/exec", exact)["exit"], "code 0");
    let native = json!({ "program": "sh", "args": script("yes"), "max_buffer": 10 });
    let native = ask(&server, "/exec", native);
    assert_eq!(
        (&native["exit"], &native["bytes"]),
        (&json!("signal SIGTERM (limit: max-buffer)"), &json!(10))
    );
    server.finish();
}

#[test]
fn a_timeout_sends_the_kill_signal() {
    let server = serving(&[], &[]);
    let wanted = json!({ "program": "actor", "args": ["spin"], "timeout_ms": 100 });
    let answer = ask(&server, "/exec", wanted);
    assert_eq!(answer["exit"], "signal SIGTERM (limit: timeout)");
    assert_eq!(answer["stdout"], "spinning\n");
    let wanted = json!({ "program": "sh", "args": script("trap '' TERM; sleep 60; sleep 60"),
        "timeout_ms": 100, "kill_signal": "SIGKILL" });
    assert_eq!(ask(&server, "/exec", wanted)["exit"], "signal SIGKILL (limit: timeout)");
    server.finish();
}

#[test]
fn processor_time_and_memory_are_limited() {
    let spin = granted("spin", "actor", ",cpu=1s,memory=16M");
    let server = serving(&[&spin, "burn=/bin/sh,cpu=1s"], &[]);
    let wasm = ask(&server, "/exec", json!({ "program": "spin", "args": ["spin"] }));
    assert_eq!(wasm["exit"], "signal SIGXCPU (limit: cpu-time)");
    let native = script("while :; do :; done");
    let native = ask(&server, "/exec", json!({ "program": "burn", "args": native }));
    assert_eq!(native["exit"], "signal SIGXCPU (limit: cpu-time)");
    let grown = ask(&server, "/exec", json!({ "program": "spin", "args": ["grow"] }));
    assert_eq!(grown["exit"], "code 1 (limit: memory)");
    server.finish();
}
