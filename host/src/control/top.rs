//! `host top`: the status, drawn anew every second on the terminal's other screen, until `q`.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::client::{Client, PROMPT};
use super::protocol::{Order, PoolStatus, Status};
use super::table;

const EVERY: Duration = Duration::from_secs(1);
const OTHER_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
const USUAL_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";
const BOLD: &str = "\x1b[1m";
const REVERSED: &str = "\x1b[7m";
const PLAIN: &str = "\x1b[0m";

pub fn run(client: Client) -> Result<()> {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    ensure!(terminal, "top: this is not a terminal; `host status` prints once");
    let _screen = Screen::enter()?;
    watch(client)
}

/// The terminal as it was comes back when this is dropped.
struct Screen(Termios);

impl Screen {
    fn enter() -> Result<Screen> {
        let before = tcgetattr(std::io::stdin()).context("use the terminal")?;
        let mut keys = before.clone();
        // Keys one by one and unseen; ctrl-C becomes a key as well, so that we can tidy up.
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &keys).context("use the terminal")?;
        print!("{OTHER_SCREEN}");
        Ok(Screen(before))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("{USUAL_SCREEN}");
        let _ = std::io::stdout().flush();
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

fn watch(mut client: Client) -> Result<()> {
    let mut before: Option<Status> = None;
    loop {
        let now: Status = client.ask(Order::Status, Some(PROMPT))?;
        let picture = picture(&now, before.as_ref());
        let mut out = std::io::stdout().lock();
        out.write_all(picture.as_bytes())?;
        out.flush()?;
        before = Some(now);
        if quits()? {
            return Ok(());
        }
    }
}

/// Waits for a key until it is time for the next picture.
fn quits() -> Result<bool> {
    let stdin = std::io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut fds, EVERY.as_millis() as u16).context("wait for a key")?;
    if ready == 0 {
        return Ok(false);
    }
    let mut keys = [0; 16];
    let count = nix::unistd::read(stdin.as_fd(), &mut keys).context("read a key")?;
    const CTRL_C: u8 = 3;
    Ok(count == 0 || keys[..count].iter().any(|key| [b'q', CTRL_C].contains(key)))
}

fn picture(now: &Status, before: Option<&Status>) -> String {
    let up = table::time(now.uptime_ms);
    let title = format!("{}  pid {}  version {}  up {up}", now.name, now.pid, now.version);
    let mut lines = vec![format!("{BOLD}{title}{PLAIN}  (q quits)")];
    for pool in &now.pools {
        let rate = rate(pool, now, before);
        lines.push(String::new());
        lines.push(format!("{BOLD}{}  {rate} requests/s{PLAIN}", table::heading(pool)));
        for (index, line) in table::columns(&table::workers(pool)).into_iter().enumerate() {
            lines.push(if index == 0 { format!("{REVERSED}{line}{PLAIN}") } else { line });
        }
    }
    let lines: String = lines.iter().map(|line| format!("{line}{REST_OF_LINE}\r\n")).collect();
    format!("{HOME}{lines}{REST_OF_SCREEN}")
}

/// Requests a second since the picture before this one.
fn rate(pool: &PoolStatus, now: &Status, before: Option<&Status>) -> u64 {
    let Some(before) = before else { return 0 };
    let same = before.pools.iter().find(|other| other.name == pool.name);
    let more = same.map_or(0, |other| table::requests(pool).saturating_sub(table::requests(other)));
    more.saturating_mul(1000) / now.uptime_ms.saturating_sub(before.uptime_ms).max(1)
}
