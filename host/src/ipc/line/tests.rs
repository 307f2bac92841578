use std::fs::File;
use std::io::{Read, Write};

use super::fuzz::{MAX, received};
use super::*;
use crate::fuzz;

/// What takes longer has got stuck.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

fn within_deadline(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await }).expect("done in time");
}

/// The other process's end of a line; its calls wait.
struct Theirs {
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

fn ours_and_theirs() -> (Pipes, Theirs) {
    let (ours, theirs) = Pipes::pair().unwrap();
    for fd in [&theirs.reader, &theirs.writer] {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    }
    (ours, Theirs { reader: theirs.reader.into(), writer: theirs.writer.into() })
}

fn frame(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let head = [&(body.len() as u32).to_le_bytes()[..], &[kind], &id.to_le_bytes()].concat();
    [&head[..], body].concat()
}

#[test]
fn whatever_a_peer_sends_ends_the_line_or_is_a_message_within_the_limit() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let samples = [
        frame(MESSAGE, 0, b"hello"),
        [frame(REQUEST, 1, b"a"), frame(REQUEST, 1, b"b"), frame(GIVE_UP, 1, b"")].concat(),
        frame(REPLY, 1, b"yes"),
        frame(REPLY, u64::MAX, &[b'x'; MAX]),
        frame(MESSAGE, 0, b"").repeat(200),
    ];
    assert_eq!(runtime.block_on(received(&samples[0])).len(), 1);
    assert_eq!(runtime.block_on(received(&frame(MESSAGE, 0, &[0; MAX + 1]))).len(), 0);
    fuzz::mutated(&samples, super::fuzz::run);
    fuzz::known("ipc_line", super::fuzz::run);
}

#[test]
fn frames_of_any_size_arrive_whole_however_they_are_cut() {
    let sizes = [0, 1, 300_000, 5, 65_536 - HEAD, 65_536, 1, 1 << 20, 0, 100_000, 17];
    let body = |size: usize| (0..size).map(|at| (at * 31 + size) as u8).collect::<Vec<u8>>();
    let stream: Vec<u8> = sizes.iter().flat_map(|size| frame(MESSAGE, 0, &body(*size))).collect();
    for piece in [1021, 16_384, 65_539, stream.len()] {
        let (ours, mut theirs) = ours_and_theirs();
        let sent = stream.clone();
        let writer = std::thread::spawn(move || {
            for piece in sent.chunks(piece) {
                theirs.writer.write_all(piece).unwrap();
            }
        });
        within_deadline(async {
            let line = Line::start(ours, 1 << 20, Arc::default()).unwrap();
            for size in sizes {
                line.wait_news().await;
                let message =
                    line.receive().unwrap_or_else(|_| panic!("{size} in pieces of {piece}"));
                assert!(message.body == body(size), "{size} in pieces of {piece}");
            }
            line.wait_news().await;
            assert!(line.is_over());
        });
        writer.join().unwrap();
    }
}

#[test]
fn a_look_for_the_next_message_is_made_as_seldom_as_it_is_in_vain() {
    let looks = |came: fn(u32) -> bool| {
        let mut hope = transport::Hope::default();
        let look = |turn: &u32| {
            let looks = hope.is_worth_a_try();
            if looks {
                hope.learn(came(*turn));
            }
            looks
        };
        (0..1000).filter(look).count()
    };
    assert_eq!(looks(|_| true), 1000);
    assert!(looks(|_| false) < 25);
    assert!(looks(|turn| turn % 10 != 0) > 800);
}

#[test]
fn what_a_full_pipe_does_not_take_goes_out_once_the_peer_reads() {
    let (ours, mut theirs) = ours_and_theirs();
    within_deadline(async {
        let line = Line::start(ours, 1 << 20, Arc::default()).unwrap();
        let body = vec![7; 100_000];
        let mut sent = 0;
        while line.send(&body) == Ok(()) {
            sent += 1;
            // The writing task's turn.
            tokio::task::yield_now().await;
        }
        assert_eq!(line.send(&body), Err(SendError::Full));
        let (done, read) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.reader.read_to_end(&mut all).unwrap();
            done.send(all.len()).unwrap();
        });
        line.wait_room().await;
        line.end();
        line.wait_sent().await;
        drop(line);
        // Not by a join: the writing task may still have to close what is empty.
        assert_eq!(read.await.unwrap(), sent * (HEAD + body.len()));
    });
}

#[test]
fn an_answer_goes_out_at_once_and_other_messages_together() {
    let (ours, theirs) = Pipes::pair().unwrap();
    let (mut reader, mut writer) = (File::from(theirs.reader), File::from(theirs.writer));
    let mut sent = || reader.read(&mut [0; 1024]).unwrap_or(0);
    within_deadline(async {
        let line = Line::start(ours, MAX, Arc::default()).unwrap();
        line.send(b"first").unwrap();
        line.send(b"second").unwrap();
        assert_eq!(sent(), 0, "before other tasks have had their turn");
        line.wait_sent().await;
        assert_eq!(sent(), 2 * HEAD + 11);
        writer.write_all(&frame(MESSAGE, 0, b"a")).unwrap();
        line.wait_news().await;
        line.receive().map(drop).unwrap_or_else(|_| panic!("a message"));
        line.send(b"answer").unwrap();
        assert_eq!(sent(), HEAD + 6, "in the same turn");
        line.send(b"more").unwrap();
        assert_eq!(sent(), 0, "not an answer");
        line.wait_sent().await;
        assert_eq!(sent(), HEAD + 4);
        let id = line.request(b"?").unwrap();
        line.wait_sent().await;
        assert_eq!(sent(), HEAD + 1);
        writer.write_all(&frame(REPLY, id, b"!")).unwrap();
        line.wait_reply(id).await;
        assert_eq!(line.take_reply(id).unwrap(), b"!");
        line.request(b"next?").unwrap();
        assert_eq!(sent(), HEAD + 5, "nothing else was awaited");
    });
}
