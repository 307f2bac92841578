//! The example programs.

use super::granted;
use crate::support::Server;

#[test]
fn exec_shows_output_error_and_limits() {
    let server = Server::serving(
        "exec",
        &["--program", "sh=/bin/sh,args=-c", "--program", "sleep=/bin/sleep"],
    );
    assert_eq!(server.get("/").text(), "there is: sh, sleep\n");
    assert_eq!(server.get("/sh/ls").text().lines().next(), Some("sh: code 0"));
    assert_eq!(server.get("/sh/false").text(), "sh: code 1\nstdout:\nstderr:\n");
    assert_eq!(
        server.get("/sleep/60").text().lines().next(),
        Some("sleep: signal SIGTERM (limit: timeout)")
    );
    assert_eq!(
        server.get("/sh/yes").text().lines().next(),
        Some("sh: signal SIGTERM (limit: max-buffer)")
    );
    assert_eq!(server.get("/rm").text(), "rm: not granted\n");
    server.finish();
}

#[test]
fn a_forked_program_answers_over_its_channel() {
    let server = Server::serving("fork_sums", &["--program", &granted("sums", "sums", "")]);
    let answer = server.get("/1000").text();
    assert!(answer.ends_with("says 500500\n"), "{answer}");
    server.finish();
}

#[test]
fn compress_streams_a_large_body_through_either_program() {
    let text: Vec<u8> = (0..8_u32 << 20).map(|n| (n / 1000 % 251) as u8).collect();
    let gzip = "squeeze=/bin/gzip,args=-c".to_owned();
    for program in [granted("squeeze", "squeeze", ""), gzip] {
        let server = Server::serving("compress", &["--program", &program]);
        let response = server.connect().post("/", &text);
        assert_eq!(response.status(), 200);
        assert!(response.body.len() < text.len() / 10);
        assert_eq!(unpacked(&response.body), text.len());
        server.finish();
    }
}

/// What gzip says the length was, and that it is whole.
fn unpacked(bytes: &[u8]) -> usize {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start gzip");
    let (mut stdin, bytes) = (gzip.stdin.take().expect("stdin"), bytes.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = gzip.wait_with_output().expect("gzip");
    writer.join().expect("the writer").expect("write to gzip");
    assert!(output.status.success());
    output.stdout.len()
}
