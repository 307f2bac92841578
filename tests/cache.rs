//! The artifact cache: used, repaired, never needed.

use crate::support::place::HOST;
use crate::support::{Scratch, Server, plugin};
use std::path::PathBuf;
use std::process::Command;

fn start(cache: &Scratch, flags: &[&str]) -> Server {
    let mut command = Command::new(HOST);
    command.env("XDG_CACHE_HOME", cache.path());
    let hello = plugin("hello");
    Server::start_command(command, &[&["--plugin", hello.as_str()][..], flags].concat())
}

fn entries(cache: &Scratch) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cache.path().join("host")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn serves(server: Server) {
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}

#[test]
fn the_second_start_compiles_nothing() {
    let cache = Scratch::new();
    serves(start(&cache, &[]));
    let kept = entries(&cache);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let before = std::fs::metadata(&kept[0]).unwrap().modified().unwrap();
    serves(start(&cache, &[]));
    assert_eq!(entries(&cache), kept);
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().modified().unwrap(), before);
}

#[test]
fn a_damaged_entry_is_compiled_anew() {
    let cache = Scratch::new();
    serves(start(&cache, &[]));
    let entry = entries(&cache).remove(0);
    let whole = std::fs::read(&entry).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b"", b"something else"] {
        std::fs::write(&entry, damaged).unwrap();
        serves(start(&cache, &[]));
        assert_eq!(std::fs::read(&entry).unwrap().len(), whole.len(), "it was not repaired");
    }
}

#[test]
fn without_the_cache_nothing_is_kept() {
    let cache = Scratch::new();
    serves(start(&cache, &["--no-cache"]));
    assert_eq!(entries(&cache), Vec::<PathBuf>::new());
}

#[test]
fn another_plugin_gets_another_entry() {
    let cache = Scratch::new();
    serves(start(&cache, &[]));
    let mut command = Command::new(HOST);
    command.env("XDG_CACHE_HOME", cache.path());
    Server::start_command(command, &["--plugin", &plugin("echo")]).finish();
    assert_eq!(entries(&cache).len(), 2);
}
