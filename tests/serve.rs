//! What a plugin's user sees when all is well.

use crate::support::{Server, core_module, h2, plugin, process, wat};

fn says_hello(file: &str) {
    let server = Server::start(&["--plugin", file]);
    let answer = server.get("/");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.header("content-length"), Some("12"));
    assert_eq!(answer.text(), "hello world\n");
    server.finish();
}

#[test]
fn a_plugin_of_wasi_http_0_2_answers() {
    says_hello(&plugin("hello"));
}

#[test]
fn a_plugin_of_wasi_http_0_3_answers() {
    says_hello(&plugin("hello-async"));
}

#[test]
fn a_component_written_as_text_answers() {
    let server = Server::start(&["--plugin", &wat("hello")]);
    assert_eq!(server.get("/").text(), "hello from wat\n");
    server.finish();
}

#[test]
fn a_core_module_with_a_component_type_is_made_a_component() {
    let server = Server::start(&["--plugin", &core_module(), "--env", "GREETING=good morning"]);
    assert_eq!(server.get("/").text(), "good morning from a core module\n");
    server.finish();
}

#[test]
fn the_ready_line_tells_address_workers_and_generation() {
    let mut server = Server::launch(&["--plugin", &plugin("hello"), "--workers", "2"]);
    let line = server.wait_ready(1);
    let address = server.address();
    assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
    assert_eq!(line, format!("host: serving http://{address} with 2 workers, generation 1"));
    server.finish();
    let server = Server::serving("hello", &["--workers", "1"]);
    server.wait_line(" with 1 worker, generation 1");
    server.finish();
}

#[test]
fn every_process_says_in_ps_what_it_is() {
    let server = Server::serving("hello", &["--workers", "3"]);
    assert_eq!(process::title(server.pid()), "host: primary");
    let titles: Vec<String> = server.workers().into_iter().map(process::title).collect();
    let expected = [1, 2, 3].map(|id| format!("host: worker {id} (gen 1) hello.wasm"));
    assert_eq!(titles, expected);
    server.finish();
}

#[test]
fn the_compiler_is_gone_once_the_server_is_ready() {
    let server = Server::serving("hello", &["--no-cache"]);
    assert_eq!(process::children(server.pid()), server.workers());
    assert!(!process::has_zombies(server.pid()));
    server.finish();
}

#[test]
fn auto_starts_one_worker_per_cpu_this_process_may_use() {
    let server = Server::serving("hello", &["--workers", "auto"]);
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!(server.workers().len(), cpus);
    server.finish();
}

#[test]
fn a_connection_carries_many_requests_one_after_another() {
    for name in ["hello", "hello-async"] {
        let server = Server::serving(name, &[]);
        let mut connection = server.connect();
        for _ in 0..100 {
            assert_eq!(connection.get("/").text(), "hello world\n");
        }
        // Two at once are answered in turn.
        connection.send(crate::support::http::get_request("/").repeat(2));
        assert_eq!(connection.response().text(), "hello world\n");
        assert_eq!(connection.response().text(), "hello world\n");
        server.finish();
    }
}

#[test]
fn a_client_that_asks_for_close_gets_it() {
    let server = Server::serving("hello", &[]);
    let mut connection = server.connect();
    connection.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert_eq!(connection.response().text(), "hello world\n");
    assert_eq!(connection.rest(), b"");
    let mut old = server.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.response().text(), "hello world\n");
    assert_eq!(old.rest(), b"");
    server.finish();
}

#[test]
fn head_gets_the_headers_alone() {
    let server = Server::serving("hello", &[]);
    let mut connection = server.connect();
    connection.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n");
    let head = connection.head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("12")));
    // The next answer follows at once: there was no body.
    assert_eq!(connection.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn http_2_in_clear_text_is_spoken_on_the_same_port() {
    for name in ["hello", "hello-async"] {
        let server = Server::serving(name, &[]);
        let answer = h2::exchange(server.address(), "GET", "/", vec![], None);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain");
        assert_eq!(answer.body, b"hello world\n");
        assert_eq!(server.get("/").text(), "hello world\n");
        server.finish();
    }
}

#[test]
fn status_codes_and_request_headers_pass_through() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &[]);
        assert_eq!(server.get("/status?code=418").status(), 418);
        assert_eq!(server.get("/nowhere").status(), 404);
        let mut connection = server.connect();
        connection.send("GET /headers HTTP/1.1\r\nhost: test\r\nx-one: 1\r\nx-one: 2\r\n\r\n");
        let headers = connection.response().json().to_string();
        assert!(headers.contains(r#"["x-one","1"],["x-one","2"]"#), "{headers}");
        server.finish();
    }
}

#[test]
fn what_a_plugin_prints_arrives_line_by_line_with_its_worker() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &[]);
        assert_eq!(server.get("/stdout?text=to%20stdout").status(), 200);
        assert_eq!(server.wait_output("to stdout"), "[worker 1] to stdout");
        assert_eq!(server.get("/stderr?text=to%20stderr").status(), 200);
        assert_eq!(server.wait_line("to stderr"), "[worker 1] to stderr");
        server.finish();
    }
}
