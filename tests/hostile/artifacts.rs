//! Machine code that is not what a compiler made: a flipped bit can be any instruction. It runs
//! behind a worker's walls or not at all.

use crate::support::place::HOST;
use crate::support::{DEADLINE, Scratch, Server, once, plugin, wait_within};
use sha2::{Digest, Sha256};
use std::process::Command;

fn compiled(scratch: &Scratch) -> Vec<u8> {
    let file = scratch.at("hello.artifact");
    let ended = once::run(&["compile", &plugin("hello"), "-o", &file]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    std::fs::read(file).unwrap()
}

/// Whatever a worker makes of it: the primary serves on, or ends with one line of its own.
fn survives(file: &str, what: &str) {
    let mut server = Server::launch(&["--plugin", file, "--no-cache"]);
    let (serves, refuses) = ("host: serving ", "host: start ");
    let said = wait_within(2 * DEADLINE, &format!("{what} to serve or to be refused"), || {
        let lines = server.stderr.lines();
        let ours = |line: &&String| line.starts_with(serves) || line.starts_with(refuses);
        let early = |line: &&String| line.starts_with("host: ") && line.contains("hello.bad");
        lines.iter().find(ours).or(lines.iter().find(early)).cloned()
    });
    if !said.starts_with(serves) {
        let status = server.wait_end();
        assert_eq!(status.code(), Some(1), "{what}: {status} after {said}");
        return;
    }
    server.wait_ready(1);
    for _ in 0..3 {
        // An answer, a wrong answer or none: the worker may die of it.
        let mut connection = server.connect();
        let _ = connection.try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let _ = connection.try_response();
    }
    server.finish();
}

/// Every so many bytes, at places that differ from start to end.
fn flipped(whole: &[u8], count: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..count).map(move |n| {
        let at = whole.len() / count * n + (n * 7919) % (whole.len() / count);
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (n % 8);
        (at, bytes)
    })
}

#[test]
fn a_bit_flipped_anywhere_in_an_artifact_harms_no_primary() {
    let scratch = Scratch::new();
    for (at, bytes) in flipped(&compiled(&scratch), 24) {
        survives(&scratch.write("hello.bad", bytes), &format!("byte {at}"));
    }
}

#[test]
fn an_artifact_cut_short_anywhere_is_refused() {
    let scratch = Scratch::new();
    let whole = compiled(&scratch);
    for length in (0..12).map(|n| 4 + (whole.len() - 5) / 11 * n).chain([whole.len() - 1]) {
        let file = scratch.write("hello.bad", &whole[..length]);
        let ended =
            once::run(&["serve", "--plugin", &file, "--listen", "127.0.0.1:0", "--workers", "1"]);
        once::assert_one_line(&ended, 1, &["hello.bad"]);
    }
}

#[test]
fn an_entry_forged_with_its_digest_is_loaded_behind_walls_only_and_mended() {
    let scratch = Scratch::new();
    let start = || {
        let mut command = Command::new(HOST);
        command.env("XDG_CACHE_HOME", scratch.path());
        Server::start_command(command, &["--plugin", &plugin("hello")])
    };
    start().finish();
    let entry = std::fs::read_dir(scratch.path().join("host")).unwrap().next().unwrap().unwrap();
    let whole = std::fs::read(entry.path()).unwrap();
    let artifact = &whole[40..];
    for length in [100, artifact.len() / 2, artifact.len() - 1] {
        let short = &artifact[..length];
        let forged = [&whole[..8], &Sha256::digest(short)[..], short].concat();
        std::fs::write(entry.path(), forged).unwrap();
        let server = start();
        assert_eq!(server.get("/").text(), "hello world\n");
        server.finish();
        assert_eq!(std::fs::read(entry.path()).unwrap(), whole, "it was not mended");
    }
}
