//! `host top`: the status, drawn anew every second on the terminal's other screen, until `q`.

mod picture;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use picture::Picture;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

use super::client::{Client, PROMPT};
use super::protocol::Order;

const EVERY: Duration = Duration::from_secs(1);

pub fn run(mut client: Client) -> Result<()> {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    ensure!(terminal, "top: this is not a terminal; `host status` prints once");
    let mut picture = Picture::default();
    let mut screen = None;
    loop {
        picture.update(client.ask(Order::Status, Some(PROMPT))?);
        // Not before the first answer: a host that is not there is told on the usual screen.
        let screen = match &mut screen {
            Some(screen) => screen,
            none => none.insert(Screen::enter()?),
        };
        if !screen.show(&mut picture)? {
            return Ok(());
        }
    }
}

/// The terminal as it was comes back when this is dropped.
struct Screen(DefaultTerminal);

impl Screen {
    fn enter() -> Result<Screen> {
        Ok(Screen(ratatui::try_init().context("use the terminal")?))
    }

    /// Until it is time for the next picture; false once the user has seen enough.
    fn show(&mut self, picture: &mut Picture) -> Result<bool> {
        let next = Instant::now() + EVERY;
        loop {
            self.0.draw(|frame: &mut Frame<'_>| picture.draw(frame)).context("draw")?;
            if !event::poll(next.saturating_duration_since(Instant::now())).context("read keys")? {
                return Ok(true);
            }
            // Everything else, as another size of the terminal, only asks for drawing again.
            if let Event::Key(key) = event::read().context("read keys")? {
                match key.code {
                    _ if is_end(key) => return Ok(false),
                    KeyCode::Down | KeyCode::Char('j') => picture.next(),
                    KeyCode::Up | KeyCode::Char('k') => picture.previous(),
                    _ => {}
                }
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn is_end(key: KeyEvent) -> bool {
    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    let asked = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (interrupt || asked)
}
