//! Another binary takes over a running host: listeners, idle connections, name and numbers.

use crate::support::load::{Load, Style};
use crate::support::once::assert_one_line;
use crate::support::{Server, process, wait_for};
use nix::sys::signal::Signal;

#[test]
fn an_upgrade_under_load_loses_no_request_and_no_connection() {
    for style in [Style::KeepAlive, Style::Fresh] {
        let mut server = Server::serving("hello", &["--workers", "2", "--metrics", "127.0.0.1:0"]);
        let load = Load::start(server.address(), "/", style, 8);
        load.wait_answers(200);
        let before = server.status();
        let said = server.tell(&["upgrade"]);
        let pid: u32 =
            said.strip_prefix("process ").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(server.wait_end().code(), Some(0), "the old primary");
        load.wait_answers(200);
        let tally = load.stop();
        assert_eq!((tally.bad_status, tally.refused), (0, 0), "{style:?} {tally:?}");
        assert_eq!((tally.unanswered, tally.broken), (0, 0), "{style:?} {tally:?}");
        let after = server.status();
        assert_eq!(after["pid"], pid);
        assert_eq!(after["name"], before["name"]);
        assert_eq!(after["pools"][0]["listen"], before["pools"][0]["listen"]);
        assert_eq!(after["pools"][0]["generation"], 2);
        let ids = after["pools"][0]["workers"].as_array().unwrap();
        assert!(ids.iter().all(|worker| worker["id"].as_u64() > Some(2)), "{ids:?}");
        assert_eq!(server.tell(&["reload"]).split(" serving").next(), Some("generation 3"));
        server.tell(&["stop"]);
        wait_for("the new primary to end", || (!process::is_alive(pid)).then_some(()));
        assert!(!server.socket("hello").exists());
    }
}

#[test]
fn an_idle_connection_and_one_in_flight_live_on() {
    let mut server = Server::serving("fixture", &["--workers", "1"]);
    let mut idle = server.connect();
    assert_eq!(idle.get("/").text(), "fixture\n");
    let mut busy = server.connect();
    busy.send("GET /slow?ms=800 HTTP/1.1\r\nhost: x\r\n\r\n");
    wait_for("the request", || {
        let started = &server.status()["pools"][0]["workers"][0]["counters"]["requests_started"];
        (started == 2).then_some(())
    });
    server.tell(&["upgrade"]);
    assert_eq!(idle.get("/").text(), "fixture\n");
    assert_eq!(busy.response().text(), "at last\n");
    assert_eq!(server.wait_end().code(), Some(0));
    assert_eq!(idle.get("/").text(), "fixture\n");
    server.tell(&["stop"]);
}

#[test]
fn a_binary_that_does_not_start_changes_nothing() {
    let server = Server::serving("hello", &[]);
    for (binary, words) in [("/bin/false", "it has ended"), ("/dev/null", "ermission denied")] {
        let ended = server.command(&["upgrade", "--binary", binary]);
        assert_one_line(&ended, 1, &[words]);
        assert_eq!(server.get("/").text(), "hello world\n");
    }
    assert!(!process::has_zombies(server.pid()));
    process::signal(server.workers()[0], Signal::SIGKILL);
    server.wait_line("worker 2 ready");
    server.finish();
}
