//! host.toml: everything the flags say, several plugins, and what a reload takes from it.

use crate::support::load::{Load, Style};
use crate::support::once::{self, assert_one_line};
use crate::support::{Connection, Scratch, Server, plugin, wait_for};
use std::net::SocketAddr;

/// Starts from a file that says everything; the tests' own flags would win over it.
fn start(file: &str) -> Server {
    let mut server = Server::launch_bare(&["--config", file]);
    server.wait_ready(1);
    server
}

/// The address of a pool, as the status has it.
fn address(server: &Server, pool: &str) -> SocketAddr {
    let status = server.status();
    let pools = status["pools"].as_array().unwrap();
    let found = pools.iter().find(|one| one["name"] == pool).expect("the pool");
    let text = found["listen"][0].as_str().unwrap();
    text.strip_prefix("http://").unwrap().parse().unwrap()
}

fn two_pools(workers: u32, answer: &str) -> String {
    format!(
        "name = 'site'\nlisten = '127.0.0.1:0'\n\n[pool.hello]\nplugin = '{}'\nworkers = {workers}\n\n\
         [pool.fixture]\nplugin = '{}'\nworkers = 1\nenv = {{ ANSWER = '{answer}', N = 1 }}\n",
        plugin("hello"),
        plugin("fixture")
    )
}

fn env(server: &Server) -> serde_json::Value {
    Connection::open(address(server, "fixture")).get("/env").json()
}

#[test]
fn several_plugins_are_served_each_with_its_own_workers_and_settings() {
    let scratch = Scratch::new();
    let server = start(&scratch.write("host.toml", two_pools(2, "42")));
    wait_for("both pools", || {
        let status = server.status();
        let pools = status["pools"].as_array()?;
        pools.iter().all(|pool| pool["state"] == "serving").then_some(())
    });
    assert_eq!(server.stderr.count("host: serving http://"), 2, "a ready line for each pool");
    let ids: Vec<u32> = server.workers_by_id().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(Connection::open(address(&server, "hello")).get("/").text(), "hello world\n");
    let env = env(&server).to_string();
    assert!(env.contains("ANSWER") && env.contains("42"), "{env}");
    let refused = server.command(&["scale", "2"]);
    assert_one_line(
        &refused,
        1,
        &["there are several pools: fixture, hello; choose one with --pool"],
    );
    assert_eq!(server.tell(&["scale", "--pool", "fixture", "2"]), "2 workers");
    assert_eq!(server.workers().len(), 4);
    server.finish();
}

#[test]
fn a_reload_reads_the_file_again_applies_what_it_can_and_lists_what_it_cannot() {
    let scratch = Scratch::new();
    let path = scratch.write("host.toml", two_pools(1, "old"));
    let server = start(&path);
    let load = Load::start(address(&server, "hello"), "/", Style::KeepAlive, 4);
    load.wait_answers(100);
    let changed = two_pools(2, "new").replace("'127.0.0.1:0'", "['127.0.0.1:0', '127.0.0.1:0']");
    let program = format!("primary = '{}'\n", plugin("counter_primary"));
    scratch.write("host.toml", format!("access-log = 'json'\n{changed}{program}"));
    let said = server.tell(&["reload"]);
    assert!(said.contains("fixture: generation 2 serving") && said.contains("hello: "), "{said}");
    let line = server.wait_line("only a restart applies it");
    for part in ["access-log", "pool.hello.listen", "pool.fixture.listen", "pool.fixture.primary"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(env(&server).to_string().contains("new"));
    wait_for("two workers", || {
        let status = server.status();
        let workers = status["pools"][1]["workers"].as_array()?.clone();
        (workers.iter().filter(|worker| worker["state"] == "serving").count() == 2).then_some(())
    });
    scratch.write("host.toml", "[pool.hello]\nplugin = 'x'\nwokers = 1\n");
    let refused = server.command(&["reload"]);
    assert_one_line(
        &refused,
        1,
        &["host.toml:3", "unknown key `wokers`; the nearest is `workers`"],
    );
    assert!(env(&server).to_string().contains("new"));
    let tally = load.stop();
    assert_eq!((tally.bad_status, tally.unanswered, tally.broken), (0, 0, 0), "{tally:?}");
    server.finish();
}

#[test]
fn flags_win_over_the_file() {
    let scratch = Scratch::new();
    let text = format!("plugin = '{}'\nworkers = 3\nlisten = '127.0.0.1:1'\n", plugin("hello"));
    let file = scratch.write("host.toml", text);
    let flags = ["--config", &file, "--workers", "1", "--listen", "127.0.0.1:0"];
    let mut server = Server::launch_bare(&flags);
    server.wait_ready(1);
    assert_eq!(server.workers().len(), 1);
    assert_ne!(server.address().port(), 1);
    assert_eq!(server.tell(&["reload"]).split(" serving").next(), Some("generation 2"));
    wait_for("the old worker to end", || (server.workers().len() == 1).then_some(()));
    server.finish();
}

#[test]
fn mistakes_in_the_file_are_named_before_anything_starts() {
    let scratch = Scratch::new();
    let hello = plugin("hello");
    for (text, parts) in [
        ("plugin = 'x'\nlisen = ':0'".into(), &["host.toml:2", "`lisen`", "`listen`"][..]),
        ("workers = ".into(), &["host.toml:1"]),
        (
            format!("plugin = '{hello}'\nworkers = 'many'"),
            &["--workers many", "a number, auto or manual"],
        ),
        ("[pool.a]\nworkers = 1".into(), &["pool a", "no plugin is given"]),
        (
            format!(
                "[pool.a]\nplugin='{hello}'\nlisten=':81'\n[pool.b]\nplugin='{hello}'\nlisten=':81'"
            ),
            &["pools a and b listen on the same address"],
        ),
        (format!("plugin = '{hello}'\nbacklog = 'x'"), &["backlog"]),
    ] {
        let file = scratch.write("host.toml", text);
        assert_one_line(&once::run(&["serve", "--config", &file]), 2, parts);
        assert_one_line(&once::run(&["check", &file]), 1, parts);
    }
    assert_one_line(&once::run(&["serve", "--config", "/no/host.toml"]), 2, &["/no/host.toml"]);
    let file = scratch.write("host.toml", two_pools(2, "x"));
    let unclear = once::run(&["serve", "--config", &file, "--listen", ":0"]);
    assert_one_line(&unclear, 2, &["--listen", "several pools"]);
    let good = once::run(&["check", &file]);
    assert_eq!((good.code, good.stdout.len()), (Some(0), 2), "{:?}", good.stderr);
}
