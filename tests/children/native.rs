//! The sandbox of native programs, and how an operator widens it.

use serde_json::json;

use super::{ask, script, serving};
use crate::support::{Scratch, Server};

fn sh(server: &Server, text: &str) -> String {
    run(server, "sh", text)
}

fn run(server: &Server, program: &str, text: &str) -> String {
    let answer = ask(server, "/exec", json!({ "program": program, "args": script(text) }));
    format!("{}{}", answer["stdout"].as_str().unwrap(), answer["stderr"].as_str().unwrap())
}

#[test]
fn it_sees_the_system_read_only_and_nobodys_files() {
    let scratch = Scratch::new();
    let secret = scratch.write("secret", "s");
    let server = serving(&[], &[]);
    assert_eq!(sh(&server, "ls /home /root /run /var /srv 2>/dev/null"), "");
    assert!(sh(&server, &format!("cat {secret}")).contains("No such file"));
    for path in ["/usr/x", "/etc/x", "/x", "/bin/x", "/dev/x"] {
        assert!(
            !sh(&server, &format!("echo > {path} && echo written")).contains("written"),
            "{path}"
        );
    }
    assert_eq!(sh(&server, "echo kept > /tmp/x && cat /tmp/x"), "kept\n");
    assert_eq!(sh(&server, "ls /tmp"), "", "its /tmp outlived it");
    server.finish();
}

#[test]
fn it_has_no_network_and_sees_no_other_process() {
    let server = serving(&["open=/bin/sh,network"], &[]);
    let devices = "tail -n +3 /proc/net/dev | wc -l";
    assert_eq!(sh(&server, devices).trim(), "1");
    let of_host = std::fs::read_to_string("/proc/net/dev").unwrap().lines().count() - 2;
    assert_eq!(run(&server, "open", devices).trim(), of_host.to_string());
    let pids = sh(&server, "ls -d /proc/[0-9]* | wc -l");
    assert!(pids.trim().parse::<u32>().unwrap() <= 4, "{pids} processes");
    server.finish();
}

#[test]
fn it_has_no_privileges_and_gets_none() {
    let server = serving(&[], &[]);
    let status =
        sh(&server, "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
    for line in status.lines() {
        let (name, value) = line.split_once(":\t").expect("a field");
        let wanted = match name {
            "NoNewPrivs" => "1",
            "Seccomp" => "2",
            _ => "0000000000000000",
        };
        assert_eq!(value, wanted, "{name}");
    }
    assert_eq!(status.lines().count(), 7);
    let tried =
        sh(&server, "unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1; kill -9 1; echo alive");
    assert!(tried.contains("alive") && !tried.contains("mounted"), "{tried}");
    server.finish();
}

#[test]
fn its_processes_files_and_memory_are_limited() {
    let server = serving(&["small=/bin/sh,processes=4,files=16,memory=64M,file-size=1M"], &[]);
    let limits = run(&server, "small", "ulimit -n; ulimit -d; ulimit -c");
    assert_eq!(limits, "16\n65536\n0\n");
    let many = run(&server, "small", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait");
    assert!(many.to_lowercase().contains("fork"), "{many}");
    let large = run(&server, "small", "head -c 2000000 /dev/zero > /tmp/x; wc -c < /tmp/x");
    assert!(large.contains("1048576"), "{large}");
    server.finish();
}

#[test]
fn granted_directories_are_there_as_granted() {
    let scratch = Scratch::new();
    scratch.write("file", "content");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(scratch.path(), mode).expect("set permissions");
    let path = scratch.path().display();
    let read = format!("read=/bin/sh,dir={path}::/data:ro");
    let write = format!("write=/bin/sh,dir={path}::/data");
    let server = serving(&[&read, &write], &[]);
    assert_eq!(run(&server, "read", "cd /data && cat file"), "content");
    assert!(!run(&server, "read", "echo > /data/new && echo written").contains("written"));
    assert_eq!(run(&server, "write", "echo more > /data/new && cat /data/new"), "more\n");
    assert!(scratch.path().join("new").exists());
    let wanted = json!({ "program": "read", "args": script("pwd"), "cwd": "/data" });
    assert_eq!(ask(&server, "/exec", wanted)["stdout"], "/data\n");
    server.finish();
}

#[test]
fn a_wasm_program_has_its_directories_too() {
    let scratch = Scratch::new();
    scratch.write("file", "content");
    let grant =
        super::granted("reader", "actor", &format!(",dir={}::/data:ro", scratch.path().display()));
    let server = serving(&[&grant], &[]);
    let read = |path: &str, cwd: Option<&str>| {
        let wanted = json!({ "program": "reader", "args": ["read", path], "cwd": cwd });
        ask(&server, "/exec", wanted)["stdout"].as_str().expect("text").to_owned()
    };
    assert_eq!(read("/data/file", None), "Ok(\"content\")\n");
    assert_eq!(read("file", Some("/data")), "Ok(\"content\")\n");
    assert!(read("file", None).starts_with("Err"));
    assert!(read("/etc/passwd", None).starts_with("Err"));
    server.finish();
}

#[test]
fn it_may_be_another_user_if_that_was_granted() {
    let server = serving(&["user=/bin/sh,uid=1234,gid=1235"], &[]);
    if !nix::unistd::geteuid().is_root() {
        return server.finish();
    }
    let ids = script("id -u; id -g");
    let as_user = |uid: Option<u32>, gid: Option<u32>| {
        let wanted = json!({ "program": "user", "args": ids, "uid": uid, "gid": gid });
        let answer = ask(&server, "/exec", wanted);
        answer["stdout"].as_str().or(answer["error"].as_str()).unwrap().to_owned()
    };
    assert_eq!(as_user(Some(1234), Some(1235)), "1234\n1235\n");
    assert_eq!(as_user(None, None), "65534\n65534\n");
    assert_eq!(as_user(Some(0), None), "not permitted");
    server.finish();
}
