//! `host new`: writes a small project for a plugin, with the SDK of its language, ready to build and serve.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use crate::cli::Language;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

const MAX_NAME: usize = 64;

/// Names of packages that the project holds already.
const TAKEN: [&str; 2] = ["host-sdk", "host-sdk-macros"];

impl Language {
    /// Where the parts of the project come from, and where they go.
    fn parts(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Language::Rust => &[
                ("host/templates/rust/", ""),
                ("guest-sdk/Cargo.toml", "host-sdk/Cargo.toml"),
                ("guest-sdk/src/", "host-sdk/src/"),
                ("guest-sdk/macros/", "host-sdk/macros/"),
                ("wit/", "wit/"),
            ],
            Language::Node => &[
                ("host/templates/node/", ""),
                ("guest-sdk/js/", "host-sdk/"),
                ("wit/", "host-sdk/wit/"),
            ],
            Language::Js => &[
                ("host/templates/js/", ""),
                ("guest-sdk/js/", "host-sdk/"),
                ("wit/", "host-sdk/wit/"),
            ],
            Language::Python => &[
                ("host/templates/python/", ""),
                ("guest-sdk/python/", "host-sdk/"),
                ("wit/", "host-sdk/wit/"),
            ],
            Language::C => &[
                ("host/templates/c/", ""),
                ("guest-sdk/c/", "host-sdk/"),
                ("wit/", "host-sdk/wit/"),
            ],
        }
    }

    fn build(self) -> &'static str {
        match self {
            Language::Rust => "cargo build --release",
            Language::Js | Language::Node => "npm install",
            Language::Python | Language::C => "make",
        }
    }

    /// What `host serve` is told.
    fn serve(self) -> &'static str {
        match self {
            Language::Rust => "--plugin target/wasm32-wasip2/release/app.wasm",
            Language::Node => "--primary build/app.wasm",
            _ => "--plugin build/app.wasm",
        }
    }
}

pub fn run(language: Language, name: &str) -> Result<()> {
    check_name(name)?;
    match fs::create_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("create {name}: it is there already")
        }
        created => created.with_context(|| format!("create {name}"))?,
    }
    for (path, text) in EMBEDDED {
        if let Some(place) = place(language, path) {
            let path = Path::new(name).join(place);
            write(&path, &fill(text, name)).with_context(|| format!("write {}", path.display()))?;
        }
    }
    let (build, serve) = (language.build(), language.serve());
    println!("{name}/ is ready:\n\n    cd {name}\n    {build}\n    host serve {serve}");
    println!("\nIts README.md says what that takes.");
    Ok(())
}

/// It becomes the name of a folder, and of a package in its language.
fn check_name(name: &str) -> Result<()> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !starts_well || !name.chars().all(goes_on) || name.len() > MAX_NAME {
        bail!(
            "name {name:?}: a name is a lower-case letter, then lower-case letters, digits, - and _, \
             {MAX_NAME} at most"
        );
    }
    if TAKEN.contains(&name) {
        bail!("name {name:?}: the SDK in the project is called so");
    }
    Ok(())
}

fn place(language: Language, path: &str) -> Option<String> {
    let parts = language.parts().iter();
    let mut places =
        parts.filter_map(|(from, to)| Some(format!("{to}{}", path.strip_prefix(from)?)));
    // Cargo and git would take these for their own if they had their names in the repository.
    places.next().map(|place| place.replace("dot-", "."))
}

fn fill(text: &str, name: &str) -> String {
    text.replace("{{name}}", name)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_package_names_are_refused() {
        for good in ["a", "my-app", "app_2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", "..", "a/b", "-a", "2a", "App", "ä", "a b", "host-sdk", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_language_has_its_parts() {
        for language in <Language as clap::ValueEnum>::value_variants() {
            for (from, _) in language.parts() {
                assert!(EMBEDDED.iter().any(|(path, _)| path.starts_with(from)), "{from}");
            }
        }
    }
}
