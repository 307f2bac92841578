//! What `host top` shows: for each pool the requests a second of the last minutes, and its workers.

use std::collections::{HashMap, VecDeque};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Row, Sparkline, Table};

use super::super::protocol::{PoolStatus, Status};
use super::super::table;

/// Seconds of the past that are kept.
const PAST: usize = 300;
const GRAPH_HEIGHT: u16 = 3;
const BORDERS: u16 = 2;
const GAP: u16 = 2;

#[derive(Default)]
pub struct Picture {
    now: Option<Status>,
    /// Requests a second of each pool, the latest first.
    rates: HashMap<String, VecDeque<u64>>,
    /// Pools that have been scrolled past.
    skipped: usize,
}

impl Picture {
    pub fn update(&mut self, now: Status) {
        for pool in &now.pools {
            let Some(rate) = self.now.as_ref().and_then(|before| rate(pool, &now, before)) else {
                continue;
            };
            let rates = self.rates.entry(pool.name.clone()).or_default();
            rates.push_front(rate);
            rates.truncate(PAST);
        }
        self.now = Some(now);
    }

    pub fn next(&mut self) {
        let last = self.now.as_ref().map_or(0, |now| now.pools.len().saturating_sub(1));
        self.skipped = (self.skipped + 1).min(last);
    }

    pub fn previous(&mut self) {
        self.skipped = self.skipped.saturating_sub(1);
    }

    pub fn draw(&self, frame: &mut Frame<'_>) {
        let Some(now) = &self.now else { return };
        let [top, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(frame.area());
        let up = table::time(now.uptime_ms);
        let title = format!("{}  pid {}  version {}  up {up}", now.name, now.pid, now.version);
        let keys = if now.pools.len() > 1 { "  ↑ ↓ scroll, q quits" } else { "  q quits" };
        frame.render_widget(Line::from(vec![title.bold(), keys.dim()]), top);
        let pools: Vec<&PoolStatus> = now.pools.iter().skip(self.skipped).collect();
        let heights = pools.iter().map(|pool| Constraint::Length(height(pool)));
        for (pool, area) in pools.iter().zip(Layout::vertical(heights).split(body).iter()) {
            self.draw_pool(frame, pool, *area);
        }
    }

    fn draw_pool(&self, frame: &mut Frame<'_>, pool: &PoolStatus, area: Rect) {
        let rates: Vec<u64> = self.rates.get(&pool.name).into_iter().flatten().copied().collect();
        let rate = rates.first().copied().unwrap_or(0);
        let block = Block::bordered().title(format!(" {} ", table::heading(pool)));
        let inside = block.inner(area);
        frame.render_widget(block, area);
        let [words, graph, workers] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(GRAPH_HEIGHT),
            Constraint::Fill(1),
        ])
        .areas(inside);
        let most = rates.iter().max().copied().unwrap_or(0);
        frame.render_widget(format!("{rate} requests/s, most {most}"), words);
        let direction = ratatui::widgets::RenderDirection::RightToLeft;
        let graph_style = Style::new().fg(Color::Cyan);
        let sparkline = Sparkline::default().data(rates).direction(direction).style(graph_style);
        frame.render_widget(sparkline, graph);
        frame.render_widget(worker_table(pool), workers);
    }
}

fn worker_table(pool: &PoolStatus) -> Table<'static> {
    let mut rows = table::workers(pool);
    let widths: Vec<Constraint> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .map(|width| Constraint::Length(width as u16))
        .collect();
    let titles = Row::new(rows.remove(0)).reversed();
    let rows = pool.workers.iter().zip(rows).map(|(worker, cells)| match worker.crash_loop {
        true => Row::new(cells).red(),
        false => Row::new(cells),
    });
    Table::new(rows, widths).header(titles).column_spacing(GAP)
}

fn height(pool: &PoolStatus) -> u16 {
    let titles_and_words = 2;
    pool.workers.len() as u16 + titles_and_words + GRAPH_HEIGHT + BORDERS
}

/// Requests a second between two looks; `None` if this pool is new.
fn rate(pool: &PoolStatus, now: &Status, before: &Status) -> Option<u64> {
    let same = before.pools.iter().find(|other| other.name == pool.name)?;
    let more = table::requests(pool).saturating_sub(table::requests(same));
    let ms = now.uptime_ms.saturating_sub(before.uptime_ms).max(1);
    Some(more.saturating_mul(1000) / ms)
}
