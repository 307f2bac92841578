//! What a peer may send down a line.

use super::*;

pub const MAX: usize = 1000;

/// Sends these bytes and then the end; what came of them.
pub async fn received(bytes: &[u8]) -> Vec<Received> {
    let (ours, theirs) = Pipes::pair().unwrap();
    // What the line writes has a reader until the end: a fuzzer does not ignore SIGPIPE.
    let _reader = theirs.reader;
    let mut writer = std::fs::File::from(theirs.writer);
    let line = Line::start(ours, MAX, Arc::default()).unwrap();
    let awaited = line.request(b"?").unwrap();
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    drop(writer);
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

/// Whatever it sends ends the line or is a message within the limit.
pub fn run(bytes: &[u8]) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    let all = RUNTIME.with(|runtime| runtime.block_on(received(bytes)));
    let length: usize = all.iter().map(|message| message.body.len() + HEAD).sum();
    assert!(length <= bytes.len());
    assert!(all.iter().all(|message| message.body.len() <= MAX));
}
