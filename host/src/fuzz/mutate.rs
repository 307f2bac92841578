//! A small fuzzer for unit tests.

use std::time::{Duration, Instant};

const USUAL: Duration = Duration::from_millis(1500);
const LONGEST: usize = 8 << 10;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 62, u64::MAX];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Shown if the target panics.
struct Input<'a> {
    seed: u64,
    bytes: &'a [u8],
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {:#x}, input {:?}", self.seed, self.bytes.escape_ascii().to_string());
        }
    }
}

/// Gives `target` one mutated sample after the other. The samples themselves come first.
pub fn mutated(samples: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let longer = std::env::var("HOST_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = longer.map_or(USUAL, Duration::from_secs);
    let seed = match longer {
        Some(_) => std::process::id() as u64 | 1 << 40,
        None => 0x9e37_79b9_7f4a_7c15,
    };
    let mut random = Random(seed);
    let begun = Instant::now();
    let mut count = 0u64;
    for sample in samples {
        target(sample);
    }
    while begun.elapsed() < length {
        let mut bytes = samples[random.below(samples.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut bytes, samples, &mut random);
        }
        bytes.truncate(LONGEST);
        let input = Input { seed, bytes: &bytes };
        target(input.bytes);
        count += 1;
    }
    assert!(count > 100, "only {count} inputs in {length:?}");
}

fn mutate(bytes: &mut Vec<u8>, samples: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len());
    let end = at + random.below(bytes.len().saturating_sub(at).min(32) + 1);
    match random.below(8) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => bytes.insert(at, random.next() as u8),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.truncate(at),
        5 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        6 => {
            let other = &samples[random.below(samples.len())];
            let from = random.below(other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        _ => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, edge[..width].iter().copied());
        }
    }
}

/// Gives `target` everything libFuzzer has found worth keeping.
pub fn known(name: &str, target: impl Fn(&[u8])) {
    let corpus = format!("{}/../fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{corpus}: {error}"));
    let paths = files.map(|file| file.expect("a folder that can be read").path());
    let tried = paths.map(|path| target(&std::fs::read(path).expect("a file"))).count();
    assert!(tried > 0, "{corpus} is empty");
}
