//! Gathers what `host new` writes: the templates, and each language's SDK and the WIT packages as they are here.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const EMBEDDED: [&str; 11] = [
    "host/templates",
    "guest-sdk/Cargo.toml",
    "guest-sdk/src",
    "guest-sdk/macros",
    "guest-sdk/js/package.json",
    "guest-sdk/js/build",
    "guest-sdk/js/src",
    "guest-sdk/js/types",
    "guest-sdk/python/host_sdk",
    "guest-sdk/c",
    "wit",
];

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let repository = manifest.parent().expect("the crate is inside the repository");
    let mut files = Vec::new();
    for path in EMBEDDED {
        println!("cargo::rerun-if-changed={}", repository.join(path).display());
        gather(&repository.join(path), &mut files)?;
    }
    files.sort();
    let mut text = String::from("static EMBEDDED: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.strip_prefix(repository).expect("below the repository");
        writeln!(text, "    ({name:?}, include_str!({file:?})),").expect("write to a string");
    }
    text.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("embedded.rs"), text)
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.file_name().is_some_and(|name| name != "__pycache__") {
            gather(&entry, files)?;
        }
    }
    Ok(())
}
