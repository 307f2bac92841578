//! Plugins that want the compiler's time and memory.

use super::wasm;
use crate::support::once::{self, Ended, assert_one_line};
use crate::support::place::HOST;
use crate::support::{Scratch, plugin};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(3);
/// What the rest of a start may take on a machine that is busy with other tests.
const SLACK: Duration = Duration::from_secs(10);

/// `host serve` of this file has to give up within its time, in one line that names the file.
fn given_up(bytes: &[u8], parts: &[&str]) {
    let scratch = Scratch::new();
    let file = scratch.write("bomb.wasm", bytes);
    let start = Instant::now();
    let ended = serve(Command::new(HOST), &scratch, &file);
    assert!(start.elapsed() < PATIENCE + SLACK, "it took {:?}", start.elapsed());
    assert_one_line(&ended, 1, &[&["bomb.wasm"], parts].concat());
}

fn serve(mut command: Command, scratch: &Scratch, file: &str) -> Ended {
    command.env("XDG_CACHE_HOME", scratch.path());
    let address = ["--listen", "127.0.0.1:0", "--workers", "1", "--compile-timeout", "3s"];
    once::run_command(command, &[&["serve", "--plugin", file][..], &address].concat())
}

#[test]
fn a_million_functions_are_given_up_in_time() {
    given_up(
        &wasm::component(&wasm::functions(1_000_000, &wasm::blocks(8))),
        &["not done within 3s"],
    );
}

#[test]
fn more_functions_than_there_may_be_are_refused() {
    given_up(&wasm::component(&wasm::functions(1_000_001, &[])), &["functions"]);
}

#[test]
fn blocks_a_million_deep_end_the_compiler_at_most() {
    given_up(&wasm::component(&wasm::functions(1, &wasm::blocks(1_000_000))), &[]);
}

#[test]
fn components_ten_thousand_deep_end_the_compiler_at_most() {
    given_up(&wasm::nested(10_000), &[]);
}

#[test]
fn brackets_a_million_deep_end_the_compiler_at_most() {
    given_up("(".repeat(1_000_000).as_bytes(), &[]);
}

#[test]
fn data_all_over_a_memory_of_4_gib_does_not_fill_ours() {
    given_up(&wasm::component(&wasm::data(8 << 20)), &[]);
}

#[test]
fn a_file_larger_than_any_plugin_is_not_even_read() {
    let scratch = Scratch::new();
    let file = scratch.write("huge.wasm", "");
    std::fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    assert_one_line(
        &serve(Command::new(HOST), &scratch, &file),
        1,
        &["huge.wasm", "larger than 512 MiB"],
    );
}

#[test]
fn an_artifact_beyond_the_limit_is_not_written() {
    let scratch = Scratch::new();
    let hello = plugin("hello");
    let size = std::fs::metadata(&hello).unwrap().len();
    // A host that may write no larger files has compilers that may not either. The plugin fits,
    // what becomes of it does not. The unit is 512 bytes, or 1024 where sh is bash.
    let blocks = size / 512 + 8;
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -f {blocks} && exec \"$0\" \"$@\""), HOST]);
    let ended = serve(command, &scratch, &hello);
    assert_one_line(&ended, 1, &["compile", "hello.wasm", "larger than"]);
}
