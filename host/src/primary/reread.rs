//! What a reload of the whole host means: the configuration is read again, each pool gets what can
//! change while it runs, and what cannot is named.

use std::path::PathBuf;

use anyhow::Result;
use tokio::sync::oneshot;

use super::fleet::Fleet;
use super::reload::Request;
use super::scale::{Operation, Reply};
use crate::config::{Config, PoolConfig};
use crate::control::protocol::Target;

/// What to reload, and what to change on top of what is configured.
#[derive(Default)]
pub struct Wanted {
    /// One pool only.
    pub pool: Option<String>,
    pub plugin: Option<PathBuf>,
    pub set: Vec<(String, String)>,
}

/// One pool's part of a reload.
struct Part {
    pool: usize,
    config: Option<PoolConfig>,
    /// Another number of workers than before.
    workers: Option<usize>,
}

impl Fleet {
    pub fn reload(&mut self, wanted: Wanted, reply: Option<Reply>) {
        let parts = self.targets(&wanted).and_then(|targets| self.parts(&targets));
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => {
                self.output.log(&format!("reload: {error:#}; everything stays as it is"));
                if let Some(reply) = reply {
                    let _ = reply.send(Err(format!("{error:#}")));
                }
                return;
            }
        };
        let mut answers = Vec::new();
        for part in parts {
            let (done, answer) = oneshot::channel();
            let pool = &mut self.pools[part.pool];
            answers.push((pool.config.name.clone(), answer));
            pool.reload(Request {
                plugin: wanted.plugin.clone(),
                set: wanted.set.clone(),
                config: part.config,
                done: Some(done),
            });
            if let Some(workers) = part.workers {
                pool.operate(Operation::Scale(Target::Exactly(workers)), None);
            }
        }
        if let Some(reply) = reply {
            tokio::task::spawn_local(answer_all(answers, reply));
        }
    }

    /// The pools that are meant.
    fn targets(&self, wanted: &Wanted) -> Result<Vec<usize>> {
        let names: Vec<&str> = self.pools.iter().map(|pool| &pool.config.name[..]).collect();
        let several = names.len() > 1;
        match &wanted.pool {
            Some(name) => match names.iter().position(|known| known == name) {
                Some(index) => Ok(vec![index]),
                None => anyhow::bail!("no pool {name}; there is {}", names.join(", ")),
            },
            None if several && wanted.plugin.is_some() => {
                anyhow::bail!(
                    "there are several pools: {}; choose one with --pool",
                    names.join(", ")
                )
            }
            None => Ok((0..names.len()).collect()),
        }
    }

    /// Reads the configuration again, if it has a file that may have changed.
    fn parts(&mut self, targets: &[usize]) -> Result<Vec<Part>> {
        let unchanged = |pool: &usize| Part { pool: *pool, config: None, workers: None };
        if self.source.file.is_none() {
            return Ok(targets.iter().map(unchanged).collect());
        }
        let new = self.source.config()?;
        let mut kept = self.config.fixed_changes(&new);
        let mut parts = Vec::new();
        for index in targets {
            let pool = &self.pools[*index];
            let Some(to) = of_name(&new, &pool.config.name) else {
                parts.push(unchanged(index));
                continue;
            };
            let before = of_name(&self.config, &pool.config.name).map(|config| config.workers);
            let workers = Some(to.workers).filter(|workers| before != Some(*workers));
            let (config, fixed) = pool.current.config().change_to(to.clone());
            kept.extend(fixed);
            parts.push(Part { pool: *index, config: Some(config), workers });
        }
        if !kept.is_empty() {
            let kept = kept.join(", ");
            self.output.log(&format!("reload: changed, but only a restart applies it: {kept}"));
        }
        self.remember(new, targets);
        Ok(parts)
    }

    /// What the next reload compares with: of pools left out this time, what it was.
    fn remember(&mut self, mut new: Config, targets: &[usize]) {
        let touched: Vec<&str> =
            targets.iter().map(|index| &self.pools[*index].config.name[..]).collect();
        for pool in &mut new.pools {
            if !touched.contains(&&pool.name[..])
                && let Some(before) = of_name(&self.config, &pool.name)
            {
                pool.workers = before.workers;
            }
        }
        for pool in &mut self.config.pools {
            if let Some(to) = of_name(&new, &pool.name) {
                pool.workers = to.workers;
            }
        }
    }
}

fn of_name<'a>(config: &'a Config, name: &str) -> Option<&'a PoolConfig> {
    match &config.pools[..] {
        // A single pool may take its name from a plugin that has changed.
        [only] => Some(only),
        all => all.iter().find(|pool| pool.name == name),
    }
}

/// One answer for all pools: the first failure, else what each said.
async fn answer_all(
    answers: Vec<(String, oneshot::Receiver<Result<String, String>>)>,
    reply: Reply,
) {
    let several = answers.len() > 1;
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for (pool, answer) in answers {
        let answer = answer.await.unwrap_or_else(|_| Err("the host is stopping".into()));
        let named = |text: String| if several { format!("{pool}: {text}") } else { text };
        match answer {
            Ok(text) => done.push(named(text)),
            Err(text) => failed.push(named(text)),
        }
    }
    let _ = reply.send(match failed.is_empty() {
        true => Ok(done.join("; ")),
        false => Err(failed.join("; ")),
    });
}
