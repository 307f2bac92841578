//! README.md and docs/: their code is code that is built, their commands are commands that run.

use crate::support::{Scratch, Server, once, place, plugin};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Page {
    name: String,
    text: String,
}

/// A fenced block, or an indented one, which has no language.
struct Block {
    page: String,
    line: usize,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs")).expect("docs");
    paths.extend(docs.map(|entry| entry.expect("a page").path()));
    let read = |path: PathBuf| Page {
        name: path.file_name().expect("a name").to_string_lossy().into_owned(),
        text: std::fs::read_to_string(&path).expect("a page"),
    };
    paths.into_iter().map(read).collect()
}

fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for Page { name: page, text } in pages() {
        let mut fenced: Option<Block> = None;
        for (at, line) in text.lines().enumerate() {
            let new = |language: &str, text: &str| Block {
                page: page.clone(),
                line: at + 1,
                language: language.to_owned(),
                text: text.to_owned(),
            };
            match (line.strip_prefix("```"), &mut fenced) {
                (Some(_), Some(_)) => found.extend(fenced.take()),
                (Some(language), None) => fenced = Some(new(language, "")),
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => found.extend(line.strip_prefix("    ").map(|code| new("", code))),
            }
        }
        assert!(fenced.is_none(), "{page} ends inside a block");
    }
    found
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every text file below a directory, without what builds leave there.
fn sources(directory: &Path, found: &mut Vec<String>) {
    let built = ["target", "node_modules", ".tools", ".venv", "build"];
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !built.contains(&&*name) {
            sources(&path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push(words(&text));
        }
    }
}

#[test]
fn code_in_the_pages_is_taken_from_programs_that_are_built() {
    let mut known = Vec::new();
    for directory in ["plugins", "guest-sdk", "wit", "bench/peers-src"] {
        sources(&root().join(directory), &mut known);
    }
    // These are run below.
    let elsewhere = ["", "toml", "ini", "wit"];
    for block in blocks().iter().filter(|block| !elsewhere.contains(&&*block.language)) {
        let code = words(&block.text);
        let place = format!("{}:{}", block.page, block.line);
        assert!(known.iter().any(|source| source.contains(&code)), "{place}: in no source file");
    }
}

/// A directory with the files that the pages name.
fn files() -> Scratch {
    let scratch = Scratch::new();
    for (name, made_of) in [
        ("app.wasm", "hello"),
        ("program.wasm", "bench_nothing"),
        ("api.wasm", "hello"),
        ("pages.wasm", "hello"),
        ("counter.wasm", "counter"),
        ("counter_primary.wasm", "counter_primary"),
    ] {
        scratch.write(name, std::fs::read(plugin(made_of)).expect("a plugin"));
    }
    // As far as it is built.
    if let Some(script) = place::in_plugins("js/build/node/counter.wasm") {
        scratch.write("cluster.wasm", std::fs::read(script).expect("a plugin"));
    }
    scratch
}

/// The flags of a `host serve` line of the pages, with files of the scratch directory and ports that are free.
fn here(line: &str, scratch: &Scratch) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    for word in line.split('#').next().unwrap_or(line).split_whitespace().skip(2) {
        let file = word.rsplit('/').next().unwrap_or(word);
        args.push(match (args.last().map(String::as_str), word) {
            (Some("--listen"), _) => "127.0.0.1:0".to_owned(),
            (Some("--control"), _) => scratch.at(file),
            _ if file.ends_with(".wasm") => match word.split_once('=') {
                Some((name, _)) => format!("{name}={}", scratch.at("program.wasm")),
                None => scratch.at(file),
            },
            _ => word.to_owned(),
        });
    }
    if !args.iter().any(|arg| arg == "--listen") {
        args.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    args
}

#[test]
fn every_serve_command_of_the_pages_serves() {
    let scratch = files();
    let mut count = 0;
    let blocks = blocks();
    let exec = blocks.iter().filter(|block| block.language == "ini").flat_map(|block| {
        let lines = block.text.lines().filter_map(|line| line.strip_prefix("ExecStart="));
        lines.map(|line| line.rsplit_once("/bin/").map_or(line, |(_, command)| command))
    });
    let plain = blocks.iter().filter(|block| block.language.is_empty()).map(|block| &*block.text);
    for line in plain.chain(exec).filter(|line| line.starts_with("host serve ")) {
        if line.contains("cluster.wasm") && !scratch.path().join("cluster.wasm").exists() {
            continue;
        }
        let args = here(line, &scratch);
        let server = Server::start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(server.get("/").text(), "hello world\n", "{line}");
        server.finish();
        count += 1;
    }
    assert!(count >= 5, "found {count} commands only");
}

/// `host NAME …` in running text and tables.
fn mentioned() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for Page { name, text } in pages() {
        for code in text.split('`').skip(1).step_by(2) {
            if let Some(rest) = code.strip_prefix("host ") {
                found.push((name.clone(), rest.replace('\\', "")));
            }
        }
    }
    found
}

#[test]
fn every_command_and_flag_the_pages_mention_exists() {
    let commands = mentioned();
    assert!(commands.len() > 20, "{commands:?}");
    for (page, command) in commands {
        let mut words = command.split(|c: char| c.is_whitespace() || "[]|…".contains(c));
        let name = words.next().unwrap_or_default();
        let help = once::run(&[name, "--help"]);
        assert_eq!(help.code, Some(0), "{page}: `host {command}`: {:?}", help.stderr);
        let help = help.stdout.join("\n");
        for flag in words.filter(|word| word.starts_with('-') && !word.starts_with("-N")) {
            assert!(help.contains(flag), "{page}: `host {command}`: no {flag} in its help");
        }
    }
}

#[test]
fn the_configuration_in_the_pages_is_right() {
    let scratch = files();
    for block in blocks().into_iter().filter(|block| block.language == "toml") {
        // A page may show one table alone.
        let whole = block.text.contains("plugin =");
        let start = if whole { "" } else { "plugin = \"app.wasm\"\n" };
        let file = scratch.write("host.toml", format!("{start}{}", block.text));
        let mut check = Command::new(env!("CARGO_BIN_EXE_host"));
        check.current_dir(scratch.path());
        let ended = once::run_command(check, &["check", &file]);
        assert_eq!(ended.code, Some(0), "{}:{}: {:?}", block.page, block.line, ended.stderr);
    }
}

#[test]
fn the_worlds_in_the_pages_resolve() {
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_dir(root().join("wit")).expect("the package");
    let mut count = 0;
    for block in blocks().into_iter().filter(|block| block.language == "wit") {
        let place = format!("{}:{}", block.page, block.line);
        let pushed = resolve.push_str(&place, &block.text);
        assert!(pushed.is_ok(), "{place}: {:#}", pushed.unwrap_err());
        count += 1;
    }
    assert!(count > 0, "no world found");
}
