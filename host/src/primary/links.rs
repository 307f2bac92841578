//! What pools of one host share.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::accepted::Accepted;
use super::compile::Compiler;
use super::news::News;
use super::output::Output;
use super::{Events, PoolId};

/// Where a pool's news and connections go.
#[derive(Clone)]
pub struct Links {
    pub output: Output,
    pub compiler: Rc<Compiler>,
    pub events: Events,
    pub accepted: mpsc::Sender<(PoolId, Accepted)>,
    pub news: News,
    /// The worker id used last, in all pools together.
    pub numbers: Rc<Cell<u32>>,
    /// The command line, for plugins to see.
    pub line: Rc<[String]>,
    /// Connections in transit that there are descriptors for.
    pub max_held: usize,
}

impl Links {
    /// The links of one of the pools.
    pub fn of(&self, pool: PoolId, name: &str) -> Links {
        let mut links = self.clone();
        links.events.pool = pool;
        links.news = self.news.of(name);
        links
    }
}
