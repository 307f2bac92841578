//! Malformed and ambiguous HTTP, byte by byte. Each case says what a server has to make of it by
//! the section of RFC 9112 (or 9110, 9113) it breaks; a second request rides on every one of them,
//! and is answered only where the first was sound. What the plugin has seen, it prints.

mod case;
mod chunks;
mod fields;
mod h2;
mod h2_cases;
mod h2_frames;
mod length;
mod line;
mod target;

use case::Bench;

#[test]
fn request_lines() {
    Bench::start().run(line::CASES);
}

#[test]
fn request_targets_and_hosts() {
    Bench::start().run(target::CASES);
}

#[test]
fn header_fields() {
    Bench::start().run(fields::CASES);
}

#[test]
fn lengths_and_transfer_codings() {
    Bench::start().run(length::CASES);
}

#[test]
fn chunks() {
    Bench::start().run(chunks::CASES);
}

#[test]
fn chunks_for_a_plugin_that_reads_as_it_goes() {
    Bench::of("fixture-async").run(chunks::CASES);
}

#[test]
fn http2_fields() {
    h2::run(h2_cases::CASES);
}

#[test]
fn http2_frames() {
    h2::run(h2_frames::CASES);
}

#[test]
fn the_suite_stays_complete() {
    let http1 = [line::CASES, target::CASES, fields::CASES, length::CASES, chunks::CASES];
    let count = http1.iter().map(|cases| cases.len()).sum::<usize>()
        + h2_cases::CASES.len()
        + h2_frames::CASES.len();
    assert!(count >= 150, "{count} cases");
}
