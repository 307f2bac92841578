//! What a new configuration changes that a running host cannot take over.

use super::{Config, PoolConfig};

impl Config {
    /// Keys of the whole host that differ and stay as they are until a restart.
    pub fn fixed_changes(&self, new: &Config) -> Vec<String> {
        let mut changed = Vec::new();
        let mut note = |differs: bool, key: &str| {
            if differs {
                changed.push(key.to_owned());
            }
        };
        note(self.name != new.name, "name");
        note(self.control != new.control, "control");
        note(self.metrics != new.metrics, "metrics");
        note(self.cache != new.cache, "no-cache");
        note(self.user != new.user, "user");
        note(self.group != new.group, "group");
        note(self.access_log != new.access_log, "access-log");
        note(self.cgroups != new.cgroups, "no-cgroups");
        note(self.compile_timeout != new.compile_timeout, "compile-timeout");
        for pool in &new.pools {
            note(!self.has(&pool.name), &format!("pool.{} (new)", pool.name));
        }
        for pool in &self.pools {
            note(!new.has(&pool.name), &format!("pool.{} (gone)", pool.name));
        }
        changed
    }

    fn has(&self, name: &str) -> bool {
        self.pools.iter().any(|pool| pool.name == name)
    }
}

impl PoolConfig {
    /// Takes everything from `new` but what the listeners are bound to; names what it did not take.
    pub fn change_to(&self, new: PoolConfig) -> (PoolConfig, Vec<String>) {
        let mut kept = Vec::new();
        let mut note = |differs: bool, key: &str| {
            if differs {
                kept.push(format!("pool.{}.{key}", self.name));
            }
        };
        note(self.listen != new.listen, "listen");
        note(self.listen_per_worker != new.listen_per_worker, "listen-per-worker");
        note(self.backlog != new.backlog, "backlog");
        note(self.primary != new.primary, "primary");
        note(self.primary_dirs != new.primary_dirs, "primary-dir");
        let accepts = self.balance.workers_accept() || new.balance.workers_accept();
        let keeps_balance = accepts && self.balance != new.balance;
        note(keeps_balance, "balance");
        let config = PoolConfig {
            name: self.name.clone(),
            listen: self.listen.clone(),
            listen_per_worker: self.listen_per_worker,
            backlog: self.backlog,
            primary: self.primary.clone(),
            primary_dirs: self.primary_dirs.clone(),
            balance: if keeps_balance { self.balance } else { new.balance },
            ..new
        };
        (config, kept)
    }
}
