//! Every mistake of the operator gets one clear line, and exit code 1 or 2.

use crate::support::once::{self, assert_one_line, refused};
use crate::support::place::HOST;
use crate::support::{Scratch, Server, plugin, wat};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

#[test]
fn a_plugin_that_is_not_there() {
    refused(&["--plugin", "/no/such.wasm"], &["/no/such.wasm", "No such file"]);
}

#[test]
fn a_plugin_that_is_a_directory_or_empty() {
    let scratch = Scratch::new();
    refused(&["--plugin", scratch.path().to_str().unwrap()], &["directory"]);
    refused(&["--plugin", &scratch.write("empty.wasm", "")], &["empty.wasm", "empty"]);
}

#[test]
fn a_plugin_that_is_not_webassembly() {
    let scratch = Scratch::new();
    let file = scratch.write("picture.wasm", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    refused(&["--plugin", &file], &["picture.wasm", "not"]);
    refused(&["--plugin", &scratch.write("words.wat", "hello")], &["words.wat"]);
    refused(&["--plugin", &wat("bad-syntax")], &["bad-syntax.wat"]);
}

#[test]
fn a_plugin_that_is_cut_short_or_damaged() {
    let scratch = Scratch::new();
    let whole = std::fs::read(plugin("hello")).unwrap();
    for length in [8, 100, whole.len() / 2, whole.len() - 1] {
        let file = scratch.write("short.wasm", &whole[..length]);
        refused(&["--plugin", &file], &["short.wasm"]);
    }
    let mut damaged = whole.clone();
    damaged[whole.len() / 3..][..64].fill(0xff);
    refused(&["--plugin", &scratch.write("damaged.wasm", damaged)], &["damaged.wasm"]);
}

#[test]
fn a_core_module_without_a_component_type() {
    refused(&["--plugin", &wat("core-module")], &["core-module.wat", "core module", "component"]);
}

#[test]
fn a_component_that_exports_no_handler() {
    let parts = ["acme:math/adder@1.0.0", "wasi:http/incoming-handler", "wasi:http/handler"];
    refused(&["--plugin", &wat("no-handler")], &parts);
}

#[test]
fn imports_that_nobody_provides_are_all_named() {
    let parts = ["unknown-imports.wat", "acme:storage/blob@1.0.0", "acme:queue/topic"];
    refused(&["--plugin", &wat("unknown-imports")], &parts);
}

#[test]
fn a_plugin_that_cannot_start_shows_its_own_words() {
    let file = plugin("start-trap");
    let address = "127.0.0.1:0";
    let ended = once::run(&["serve", "--plugin", &file, "--listen", address, "--workers", "1"]);
    assert_eq!(ended.code, Some(1), "{:#?}", ended.stderr);
    let own = ended.stderr.iter().find(|line| line.contains("no database to talk to"));
    assert!(own.is_some_and(|line| line.starts_with("[worker ")), "{:#?}", ended.stderr);
    let ours: Vec<_> = ended.stderr.iter().filter(|line| line.starts_with("host: ")).collect();
    assert_eq!(ours.len(), 1, "{:#?}", ended.stderr);
    assert!(ours[0].contains("start_trap.wasm"), "{}", ours[0]);
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["--plugin", &plugin("hello"), "--listen", &address];
    refused(&flags, &["bind", &address, "in use"]);
}

#[test]
fn an_address_of_another_machine_or_of_nobody() {
    let hello = plugin("hello");
    refused(&["--plugin", &hello, "--listen", "192.0.2.1:8080"], &["bind 192.0.2.1:8080"]);
}

const NOBODY: u32 = 65534;

/// Runs the host as somebody without rights, even if the tests are root's.
fn as_nobody(scratch: &Scratch, args: &[&str]) -> once::Ended {
    let mut command = Command::new(HOST);
    let own = Scratch::new();
    if nix::unistd::geteuid().is_root() {
        // The build directory may be closed to others.
        let copy = scratch.at("host");
        if !Path::new(&copy).exists() {
            std::fs::copy(HOST, &copy).expect("copy the host");
        }
        command = Command::new(copy);
        command.uid(NOBODY).gid(NOBODY);
        std::os::unix::fs::chown(own.path(), Some(NOBODY), Some(NOBODY)).expect("give it away");
    }
    command.env("XDG_CACHE_HOME", own.path()).env("XDG_RUNTIME_DIR", own.path()).current_dir("/");
    once::run_command(command, args)
}

#[test]
fn a_plugin_and_a_place_that_may_not_be_used() {
    let scratch = Scratch::new();
    let file = scratch.write("private.wasm", "");
    let mode = |path: &str, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&file, 0o000);
    mode(scratch.path().to_str().unwrap(), 0o555);
    let socket = format!("unix:{}", scratch.at("socket"));
    let ended = as_nobody(&scratch, &["serve", "--plugin", &file, "--listen", &socket]);
    assert_one_line(&ended, 1, &["bind unix:", "Permission denied"]);
    let ended = as_nobody(&scratch, &["serve", "--plugin", &file, "--listen", "127.0.0.1:0"]);
    assert_one_line(&ended, 1, &["private.wasm: Permission denied"]);
    mode(scratch.path().to_str().unwrap(), 0o755);
}

#[test]
fn mistakes_on_the_command_line_exit_with_2() {
    let hello = plugin("hello");
    for (flags, parts) in [
        (["--workers", "0"], ["--workers 0", "at least 1"]),
        (["--workers", "many"], ["--workers many", "auto"]),
        (["--balance", "fair"], ["--balance fair", "least-connections"]),
        (["--dir", "/no/such::/data"], ["/no/such", "No such file"]),
        (["--dir", "/etc/passwd::/data"], ["/etc/passwd", "not a directory"]),
        (["--dir", "::/data"], ["--dir ::/data", "HOST::GUEST"]),
        (["--env", "=x"], ["--env =x", "K=V"]),
        (["--set", "x"], ["--set x", "K=V"]),
        (["--listen", "nonsense"], ["--listen nonsense", "HOST:PORT"]),
        (["--request-timeout", "soon"], ["--request-timeout soon", "10s"]),
        (["--max-memory-size", "lots"], ["--max-memory-size lots", "64K"]),
        (["--access-log", "xml"], ["--access-log xml", "json"]),
        (["--allow-outbound", "http://a"], ["--allow-outbound http://a", "HOST"]),
    ] {
        let ended = once::run(&["serve", "--plugin", &hello, flags[0], flags[1]]);
        assert_one_line(&ended, 2, &parts);
    }
}

#[test]
fn a_command_line_that_cannot_be_read_explains_itself() {
    for args in [&["serve"][..], &["serve", "--no-such-flag"], &["sevre"], &[]] {
        let ended = once::run(args);
        assert_eq!(ended.code, Some(2), "{args:?}");
        assert!(ended.stderr.iter().any(|line| line.contains("Usage")), "{:#?}", ended.stderr);
    }
    let help = once::run(&["serve", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.iter().any(|line| line.contains("--max-instance-reuse-count")));
}

#[test]
fn a_cache_that_cannot_be_used_is_a_warning() {
    let scratch = Scratch::new();
    let mut command = Command::new(HOST);
    command.env("XDG_CACHE_HOME", scratch.write("file", "in the way"));
    let server = Server::start_command(command, &["--plugin", &plugin("hello")]);
    let warning = server.wait_line("cache");
    assert!(warning.starts_with("host: ") && warning.contains("file"), "{warning}");
    assert_eq!(server.get("/").text(), "hello world\n");
    server.finish();
}
