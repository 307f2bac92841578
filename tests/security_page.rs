//! docs/security.md promises: the tests it names exist, and the commands it shows run.

use crate::support::once;
use std::path::Path;

/// What stands between backticks in the page.
fn quoted() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let page = std::fs::read_to_string(page).expect("read docs/security.md");
    page.split('`').skip(1).step_by(2).map(|text| text.replace('\n', " ")).collect()
}

fn sources(dir: &Path, all: &mut String) {
    for entry in std::fs::read_dir(dir).expect("read sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            *all += &std::fs::read_to_string(path).expect("read a source");
        }
    }
}

#[test]
fn every_test_the_page_names_is_there() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&host.join("../tests"), &mut all);
    sources(&host.join("src"), &mut all);
    let is_test = |name: &&str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.matches('_').count() >= 3 && name.chars().all(word)
    };
    let quoted = quoted();
    let names = quoted.iter().map(|text| text.rsplit("::").next().unwrap_or(text));
    let names: Vec<&str> = names.filter(is_test).collect();
    assert!(names.len() >= 8, "the page names {names:?}");
    for name in names {
        assert!(all.contains(&format!("fn {name}()")), "no test {name}");
    }
}

#[test]
fn every_command_of_host_on_the_page_is_one() {
    let quoted = quoted();
    let commands = quoted.iter().filter_map(|text| text.strip_prefix("host "));
    let mut count = 0;
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let ended = match words[0] {
            "doctor" => once::run(&words),
            // Those need a host that runs: tests of their own have one.
            "status" | "serve" => once::run(&[words[0], "--help"]),
            other => panic!("`host {other}`: nothing here runs it"),
        };
        assert_eq!(ended.code, Some(0), "host {command}: {:?}", ended.stderr);
        assert!(!ended.stdout.is_empty(), "host {command} printed nothing");
        count += 1;
    }
    assert!(count >= 3, "{count} commands");
}
