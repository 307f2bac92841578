use super::*;
use crate::fuzz;

const MAX: usize = 1000;

fn frame(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let head = [&(body.len() as u32).to_le_bytes()[..], &[kind], &id.to_le_bytes()].concat();
    [&head[..], body].concat()
}

/// Sends these bytes and then the end; what came of them.
async fn received(bytes: &[u8]) -> Vec<Received> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let line = Line::start(ours.into(), MAX, Arc::default()).unwrap();
    let awaited = line.request(b"?").unwrap();
    std::io::Write::write_all(&mut &theirs, bytes).unwrap();
    drop(theirs);
    let mut all = Vec::new();
    loop {
        line.wait_news().await;
        match line.receive() {
            Ok(message) => all.push(message),
            Err(Nothing::Yet) => {}
            Err(Nothing::Ever) => break,
        }
    }
    assert_ne!(line.take_reply(awaited).err(), Some(Nothing::Yet), "it would wait for ever");
    all
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
    fuzz::mutated(&samples, |bytes| {
        let all = runtime.block_on(received(bytes));
        let length: usize = all.iter().map(|message| message.body.len() + HEAD).sum();
        assert!(length <= bytes.len());
        assert!(all.iter().all(|message| message.body.len() <= MAX));
    });
}
