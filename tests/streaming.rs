//! Bodies of any size pass through in bounded memory, both ways, with their trailers.

use crate::support::http::{Connection, get_request};
use crate::support::{Server, h2, process};
use bytes::Bytes;
use http::HeaderMap;
use std::io::Write;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;
const ALL: usize = 64 * MIB;
/// What a worker's memory may grow by while `ALL` passes through.
const ROOM_KIB: u64 = 24 * 1024;

/// Bytes whose order shows: the piece at each place is different.
fn piece(number: usize) -> Vec<u8> {
    (0..MIB / 8).flat_map(|i| ((number * MIB / 8 + i) as u64).to_le_bytes()).collect()
}

fn upload(connection: &Connection, path: &str) -> std::thread::JoinHandle<()> {
    let mut writer = connection.writer();
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {ALL}\r\n\r\n");
    std::thread::spawn(move || {
        writer.write_all(head.as_bytes()).expect("send the head");
        for number in 0..ALL / MIB {
            writer.write_all(&piece(number)).expect("send the body");
        }
    })
}

/// Runs `work` and checks what it cost the only worker.
fn in_bounded_memory(server: &Server, work: impl FnOnce()) {
    let worker = server.workers()[0];
    server.get("/");
    let before = process::peak_memory_kib(worker);
    work();
    // The kernel counts in batches: it may be a little less than before.
    let grown = process::peak_memory_kib(worker).saturating_sub(before);
    assert!(grown < ROOM_KIB, "the worker grew by {grown} KiB");
}

#[test]
fn sixty_four_mib_stream_back_while_they_arrive() {
    for name in ["echo", "echo-async"] {
        let server = Server::serving(name, &[]);
        in_bounded_memory(&server, || {
            let mut connection = server.connect();
            let upload = upload(&connection, "/");
            let head = connection.head();
            assert_eq!(head.status, 200);
            let (mut number, mut wanted, mut total) = (0, Vec::new(), 0);
            let compare = |got: &[u8]| {
                total += got.len();
                while wanted.len() < got.len() {
                    wanted.extend(piece(number));
                    number += 1;
                }
                assert!(wanted.drain(..got.len()).eq(got.iter().copied()), "other bytes came back");
            };
            connection.try_body(&head, compare).expect("the whole body");
            assert_eq!(total, ALL);
            upload.join().expect("upload");
        });
        server.finish();
    }
}

#[test]
fn a_plugin_reads_sixty_four_mib() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &[]);
        in_bounded_memory(&server, || {
            let mut connection = server.connect();
            let upload = upload(&connection, "/sink");
            assert_eq!(connection.response().text(), format!("{ALL}\n"));
            upload.join().expect("upload");
        });
        server.finish();
    }
}

#[test]
fn a_plugin_writes_sixty_four_mib() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &[]);
        in_bounded_memory(&server, || {
            let mut connection = server.connect();
            connection.send(get_request("/big?mib=64"));
            let head = connection.head();
            let mut total = 0;
            connection.try_body(&head, |piece| total += piece.len()).expect("the whole body");
            assert_eq!(total, ALL);
        });
        server.finish();
    }
}

#[test]
fn a_client_that_does_not_read_makes_the_plugin_wait() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &["--request-timeout", "30s"]);
        in_bounded_memory(&server, || {
            let mut idle = server.connect();
            idle.send(get_request("/big?mib=512"));
            idle.head();
            // Time for a plugin that is not made to wait to fill the memory.
            let mut other = server.connect();
            (0..500).for_each(|_| assert_eq!(other.get("/").status(), 200));
        });
        server.finish();
    }
}

#[test]
fn pieces_are_sent_on_as_they_are_written() {
    for name in ["fixture", "fixture-async"] {
        let server = Server::serving(name, &[]);
        let mut connection = server.connect();
        let start = Instant::now();
        connection.send(get_request("/drip?pieces=3&ms=400"));
        let head = connection.head();
        let mut pieces = Vec::new();
        let note = |piece: &[u8]| pieces.push((start.elapsed(), piece.to_vec()));
        connection.try_body(&head, note).expect("the whole body");
        let texts: Vec<_> = pieces.iter().map(|(_, text)| text.as_slice()).collect();
        assert_eq!(texts, [b"piece 0\n", b"piece 1\n", b"piece 2\n"]);
        let pause = pieces[2].0 - pieces[0].0;
        assert!(pause > Duration::from_millis(500), "they came together: {pause:?}");
        server.finish();
    }
}

#[test]
fn trailers_come_back_over_http_1() {
    for name in ["echo", "echo-async"] {
        let server = Server::serving(name, &[]);
        let mut connection = server.connect();
        connection.send(
            "POST / HTTP/1.1\r\nhost: test\r\nte: trailers\r\ntrailer: x-sum\r\n\
             content-type: text/x-song\r\ntransfer-encoding: chunked\r\n\r\n\
             3\r\nla \r\n3\r\nla!\r\n0\r\nx-sum: 2\r\n\r\n",
        );
        let answer = connection.response();
        assert_eq!(answer.header("content-type"), Some("text/x-song"));
        assert_eq!(answer.text(), "la la!");
        assert_eq!(answer.trailers, [("x-sum".to_owned(), "2".to_owned())], "{name}");
        server.finish();
    }
}

#[test]
fn trailers_come_back_over_http_2() {
    for name in ["echo", "echo-async"] {
        let server = Server::serving(name, &[]);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "2".parse().unwrap());
        let body = vec![Bytes::from_static(b"la "), Bytes::from_static(b"la!")];
        let sent = Some(trailers.clone());
        let answer = h2::exchange(server.address(), "POST", "/", body, sent);
        assert_eq!(answer.body, b"la la!");
        assert_eq!(answer.trailers, Some(trailers), "{name}");
        server.finish();
    }
}

#[test]
fn four_mib_stream_both_ways_over_http_2() {
    for name in ["echo", "echo-async"] {
        let server = Server::serving(name, &[]);
        let body: Vec<Bytes> = (0..4).map(|number| piece(number).into()).collect();
        let answer = h2::exchange(server.address(), "POST", "/", body.clone(), None);
        assert!(answer.body == body.concat(), "other bytes came back");
        server.finish();
    }
}
