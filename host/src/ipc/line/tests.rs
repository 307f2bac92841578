use super::fuzz::{MAX, received};
use super::*;
use crate::fuzz;

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
