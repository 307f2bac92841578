//! The control socket keeps others out and is not disturbed by those who are let in.

use crate::support::once::assert_one_line;
use crate::support::place::HOST;
use crate::support::{Server, process, wait_for};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

fn start(flags: &[&str]) -> Server {
    Server::serving("hello", flags)
}

#[test]
fn the_socket_is_private() {
    let server = start(&[]);
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = server.socket("hello");
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    server.finish();
    let server = start(&["--control", "off"]);
    assert!(!server.socket("hello").exists());
    assert_one_line(&server.command(&["status"]), 3, &["no host is running"]);
    server.finish();
}

#[test]
fn another_user_is_not_answered_even_where_the_socket_is_open_to_all() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: only root can be somebody else");
    }
    let socket = std::env::temp_dir().join(format!("host-open-{}.sock", std::process::id()));
    let server = start(&["--control", socket.to_str().unwrap()]);
    let all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&socket, all).expect("open the socket to all");
    // Found by its descriptor, as the other user may not get to the folder of the binary.
    let binary = std::fs::File::open(HOST).expect("open the binary");
    let ask = |uid: u32| {
        let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
        command.args(["status", "--control"]).arg(&socket).uid(uid);
        command.output().expect("run the binary")
    };
    assert!(ask(0).status.success());
    let other = ask(65534);
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success() && other.stdout.is_empty(), "{said}");
    assert!(said.contains("this host belongs to another user"), "{said}");
    server.finish();
}

#[test]
fn garbage_and_floods_on_the_socket_are_refused_and_disturb_nobody() {
    let server = start(&[]);
    let connect = || UnixStream::connect(server.socket("hello")).expect("connect");
    let answer = |bytes: &[u8]| {
        let mut stream = connect();
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = BufReader::new(stream).read_line(&mut answer);
        answer
    };
    let refusal = "{\"v\":1,\"error\":\"that is not an order\"}\n";
    for garbage in [
        &b"\n"[..],
        b"hello\n",
        b"{}\n",
        b"\xff\xfe\n",
        b"{\"v\":2,\"do\":\"status\"}\n",
        b"{\"v\":1,\"do\":\"fly\"}\n",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
    ] {
        assert_eq!(answer(garbage), refusal, "{garbage:?}");
    }
    // A line without an end is cut off at the limit, not collected.
    assert!(["", refusal].contains(&answer(&vec![b'x'; 1 << 20]).as_str()));
    let before = process::peak_memory_kib(server.pid());
    let idle: Vec<UnixStream> = (0..200).map(|_| connect()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let end = Instant::now() + Duration::from_secs(1);
                while Instant::now() < end {
                    if let Ok(mut stream) = UnixStream::connect(server.socket("hello")) {
                        let _ = stream.write_all(&b"{\"v\":1,\"do\":\"status\"}\n".repeat(100));
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                        let _ = stream.read(&mut [0; 100_000]);
                    }
                }
            });
        }
        for _ in 0..50 {
            let start = Instant::now();
            assert_eq!(server.get("/").text(), "hello world\n");
            assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
        }
    });
    drop(idle);
    let grown = process::peak_memory_kib(server.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "the primary grew by {grown} KiB");
    wait_for("a free place", || (server.command(&["status"]).code == Some(0)).then_some(()));
    server.finish();
}
