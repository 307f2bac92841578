//! The example plugins in other languages, as `make plugins-c`, `-quickjs`, `-python` and `-js` build them. What is not
//! built is not tested, and says so; with REQUIRE_LANGUAGES in the environment that is a failure.

mod foreign;
mod frameworks;
mod js_children;
mod node_scripts;
mod python_children;

use std::io::Write;
use std::time::Duration;

use crate::support::{Connection, Server, place, plugin};

/// A whole language runtime takes its time to be compiled, and all tests want the processor at once.
const COMPILED_WITHIN: Duration = Duration::from_secs(400);

/// A file below plugins/ that one of the targets builds.
pub fn built(path: &str) -> Option<String> {
    let file = place::in_plugins(path);
    if file.is_some() {
        return file;
    }
    assert!(std::env::var_os("REQUIRE_LANGUAGES").is_none(), "plugins/{path} is not built");
    // Not by a macro, whose output is kept back for tests that do not fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: plugins/{path} is not built, see `make help`");
    None
}

fn serve(args: &[&str]) -> Server {
    let mut server = Server::launch(args);
    server.wait_ready_within(COMPILED_WITHIN, 1);
    server
}

fn hello(folder: &str) {
    let Some(file) = built(&format!("{folder}/hello.wasm")) else { return };
    let server = serve(&["--plugin", &file, "--workers", "auto"]);
    let mut connection = server.connect();
    for _ in 0..3 {
        let answer = connection.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello world\n"));
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    }
    drop(connection);
    server.finish();
}

/// Every request is counted by the primary program, whichever worker answers it.
fn counter(folder: &str, primary: &str) {
    let Some(file) = built(&format!("{folder}/counter.wasm")) else { return };
    let server = serve(&["--plugin", &file, "--primary", primary, "--workers", "2"]);
    for _ in 0..10 {
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    server.wait_output("numReq = 10");
    server.finish();
}

/// JSON, or lines of a name and a value.
fn process_info(folder: &str) {
    // A hyphen is no part of a name in every language.
    let name = if folder.starts_with("js") { "process-info" } else { "process_info" };
    let Some(file) = built(&format!("{folder}/{name}.wasm")) else { return };
    let server = serve(&["--plugin", &file, "--", "one", "two"]);
    let text = server.get("/").text();
    let value = |name: &str| match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(json) => json[name].to_string(),
        Err(_) => {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_default().to_owned()
        }
    };
    assert_eq!(value("pid"), server.workers()[0].to_string(), "{text}");
    assert_eq!(value("ppid"), server.pid().to_string(), "{text}");
    assert_eq!((value("worker"), value("generation")), ("1".into(), "1".into()), "{text}");
    assert_eq!(value("platform").trim_matches('"'), "linux", "{text}");
    assert!(value("argv").contains("one") && value("argv").contains("two"), "{text}");
    server.finish();
}

/// Bytes come back whole, on several connections at once, also to a client that reads late.
fn echo(folder: &str) {
    let Some(file) = built(&format!("{folder}/echo.wasm")) else { return };
    let server = serve(&["--plugin", &file]);
    let mut clients: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("client {number}\n"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.until(&format!("client {number}\n"));
    }
    let mut client = clients.pop().expect("four clients");
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut writer, copy) = (client.writer(), sent.clone());
    let sending = std::thread::spawn(move || {
        writer.write_all(&copy).expect("send");
        writer.shutdown(std::net::Shutdown::Write).expect("shut down");
    });
    assert!(client.rest() == sent, "what came back differs");
    sending.join().expect("the sender");
    drop(clients);
    server.finish();
}

macro_rules! language {
    ($name:ident, $folder:literal) => {
        mod $name {
            const FOLDER: &str = $folder;

            #[test]
            fn hello_answers_from_every_worker() {
                super::hello(FOLDER);
            }

            #[test]
            fn counter_tells_the_primary_program_of_every_request() {
                super::counter(FOLDER, &super::plugin("counter_primary"));
            }

            #[test]
            fn process_info_knows_the_process() {
                super::process_info(FOLDER);
            }

            #[test]
            fn echo_gives_back_what_it_gets() {
                super::echo(FOLDER);
            }
        }
    };
}

language!(c, "c/build");
language!(go, "go/build");
language!(python, "python/build");
language!(quickjs, "js/build/quickjs");
language!(starlingmonkey, "js/build");
language!(zig, "zig/build");

#[test]
fn a_primary_program_on_quickjs_counts() {
    let Some(primary) = built("js/build/quickjs/counter-primary.wasm") else { return };
    counter("js/build/quickjs", &primary);
}

#[test]
fn a_primary_program_on_starlingmonkey_counts() {
    let Some(primary) = built("js/build/counter-primary.wasm") else { return };
    counter("js/build", &primary);
}
