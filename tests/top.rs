//! `host top` on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::tcgetattr;

use crate::support::{Server, wait_for};

const SIZE: Winsize = Winsize { ws_row: 30, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
const USUAL_SCREEN: &str = "\x1b[?1049l";

fn stdio(terminal: &OwnedFd) -> Stdio {
    terminal.try_clone().expect("duplicate the terminal").into()
}

#[test]
fn top_draws_every_worker_until_q_and_leaves_the_terminal_as_it_was() {
    let server = Server::serving("hello", &["--workers", "2"]);
    let pty = openpty(Some(&SIZE), None).expect("open a terminal");
    let before = tcgetattr(&pty.slave).expect("ask the terminal");
    let mut command = server.client();
    command
        .arg("top")
        .env("TERM", "xterm")
        .stdin(stdio(&pty.slave))
        .stdout(stdio(&pty.slave))
        .stderr(stdio(&pty.slave));
    let mut top = command.spawn().expect("start host top");
    fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("read without waiting");
    let mut keys = File::from(pty.master.try_clone().expect("duplicate the terminal"));
    let mut screen = File::from(pty.master);
    let mut shown = String::new();
    let mut read_until = |wanted: &[String]| {
        wait_for(&format!("{wanted:?} on the screen"), || {
            let mut piece = [0; 4096];
            let length = screen.read(&mut piece).ok()?;
            shown += &String::from_utf8_lossy(&piece[..length]);
            wanted.iter().all(|part| shown.contains(part)).then_some(())
        })
    };
    let pids = server.workers().into_iter().map(|pid| pid.to_string());
    read_until(&pids.chain(["requests/s".to_owned(), "CONN".to_owned()]).collect::<Vec<_>>());
    keys.write_all(b"q").expect("press q");
    read_until(&[USUAL_SCREEN.to_owned()]);
    let ended = wait_for("top to end", || top.try_wait().expect("wait for host top"));
    assert_eq!(ended.code(), Some(0));
    assert_eq!(tcgetattr(&pty.slave).expect("ask the terminal"), before);
    server.finish();
}
