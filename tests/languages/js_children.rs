//! `host-sdk/child_process`: what JavaScript starts, on both engines.

use serde_json::{Value, json};

use super::{built, serve};
use crate::support::{Server, plugin};

/// The example, with native programs, one in Rust and one in JavaScript.
fn children(folder: &str) -> Option<Server> {
    let file = built(&format!("{folder}/children.wasm"))?;
    let sums = format!("sums={}", built(&format!("{folder}/sums.wasm"))?);
    let actor = format!("actor={}", plugin("actor"));
    let mut args = vec!["--plugin", file.as_str()];
    for program in ["cat=/bin/cat", "sh=/bin/sh,args=-c", actor.as_str(), sums.as_str()] {
        args.extend(["--program", program]);
    }
    Some(serve(&args))
}

/// Output comes with code or signal, whatever the program is.
fn run(folder: &str) {
    let Some(server) = children(folder) else { return };
    let run = |words: &str| server.get(&format!("/run/{words}")).json();
    let native = run("sh/echo%20out;echo%20err%3E%262;exit%203");
    assert_eq!((&native["stdout"], &native["stderr"]), (&json!("out\n"), &json!("err\n")));
    assert_eq!((&native["code"], &native["killed"]), (&json!(3), &json!(false)));
    let wasm = run("actor/say/hello");
    assert_eq!((&wasm["stdout"], &wasm["error"]), (&json!("hello\n"), &Value::Null));
    let late = run("actor/say/start/sleep");
    assert_eq!((&late["signal"], &late["killed"]), (&json!("SIGTERM"), &json!(true)));
    assert_eq!(late["stdout"], "start\nsleeping\n");
    let long = run("actor/fill/300000");
    assert_eq!(long["code"], "ERR_CHILD_PROCESS_STDIO_MAXBUFFER");
    assert_eq!(long["stdout"].as_str().map(str::len), Some(200 << 10));
    server.finish();
}

/// The call that waits gives the same.
fn run_sync(folder: &str) {
    let Some(server) = children(folder) else { return };
    assert_eq!(server.get("/sync/sh/echo%20out").text(), "out\n");
    let failed = server.get("/sync/sh/echo%20why%3E%262;exit%203");
    assert_eq!(failed.status(), 502);
    assert_eq!(failed.json()["message"], "Command failed: sh echo why>&2;exit 3\nwhy\n");
    server.finish();
}

fn not_granted(folder: &str) {
    let Some(server) = children(folder) else { return };
    for path in ["/sync/rm", "/through/rm", "/ask/rm"] {
        let response = server.connect().post(path, b"[1]");
        assert_eq!(
            (response.status(), &response.json()["code"]),
            (502, &json!("ENOENT")),
            "{path}"
        );
    }
    let error = server.get("/run/rm").json();
    let text = error["error"].as_str().unwrap_or_default();
    assert!(text.ends_with("the operator names it with --program rm=PATH"), "{error}");
    server.finish();
}

/// What goes in comes out again.
fn through(folder: &str) {
    let Some(server) = children(folder) else { return };
    let body: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    for path in ["/through/cat", "/through/actor/cat"] {
        assert!(server.connect().post(path, &body).body == body, "{path}: not what was sent");
    }
    assert_eq!(server.connect().post("/through/cat", "größer".as_bytes()).text(), "größer");
    server.finish();
}

/// Messages go both ways, with programs in either language.
fn ask(folder: &str) {
    let Some(server) = children(folder) else { return };
    let ask = |words: &str, messages: Value| {
        server.connect().post(&format!("/ask/{words}"), messages.to_string().as_bytes()).json()
    };
    let events = json!(["disconnect", "exit 0 null"]);
    let sums = ask("sums", json!([10, 1000]));
    assert_eq!(sums, json!({ "answers": [55, 500500], "events": events }));
    let echoes = ask("actor/answer", json!(["one", { "two": 2 }]));
    let answers = json!([{ "got": "one" }, { "got": { "two": 2 } }]);
    assert_eq!(echoes, json!({ "answers": answers, "events": events }));
    assert_eq!(ask("cat", json!([1]))["code"], "ENOTSUP");
    server.finish();
}

macro_rules! engine {
    ($name:ident, $folder:literal) => {
        mod $name {
            const FOLDER: &str = $folder;

            #[test]
            fn exec_gives_output_and_how_it_ended() {
                super::run(FOLDER);
            }

            #[test]
            fn exec_sync_waits_for_the_end() {
                super::run_sync(FOLDER);
            }

            #[test]
            fn what_was_not_granted_is_enoent() {
                super::not_granted(FOLDER);
            }

            #[test]
            fn a_spawned_program_has_streams() {
                super::through(FOLDER);
            }

            #[test]
            fn a_forked_program_has_messages() {
                super::ask(FOLDER);
            }
        }
    };
}

engine!(quickjs, "js/build/quickjs");
engine!(starlingmonkey, "js/build");
