//! The commands and the values they work on.

use std::collections::HashMap;

use crate::protocol::Reply;

/// Keys and their values.
#[derive(Default)]
pub struct Store {
    values: HashMap<Vec<u8>, Vec<u8>>,
}

impl Store {
    pub fn execute(&mut self, arguments: &[Vec<u8>]) -> Reply {
        let Some((name, rest)) = arguments.split_first() else {
            return Reply::Error("empty command".into());
        };
        match (name.to_ascii_lowercase().as_slice(), rest) {
            (b"ping", []) => Reply::Pong,
            (b"ping" | b"echo", [text]) => Reply::Bulk(text.clone()),
            (b"get", [key]) => self.get(key),
            (b"mget", keys) => Reply::Array(keys.iter().map(|key| self.get(key)).collect()),
            (b"set", [key, value]) => {
                self.values.insert(key.clone(), value.clone());
                Reply::Ok
            }
            (b"set", [_, _, ..]) => Reply::Error("options of SET are not supported".into()),
            (b"del", [_, ..]) => count(rest, |key| self.values.remove(key).is_some()),
            (b"exists", [_, ..]) => count(rest, |key| self.values.contains_key(key)),
            (b"incr", [key]) => self.add(key, Some(1)),
            (b"decr", [key]) => self.add(key, Some(-1)),
            (b"incrby", [key, by]) => self.add(key, integer(by)),
            (b"dbsize", []) => Reply::Integer(self.values.len() as i64),
            (b"flushall" | b"flushdb", _) => {
                self.values.clear();
                Reply::Ok
            }
            (b"info", _) => Reply::Bulk(self.info().into()),
            (b"config", [what, name, ..]) if what.eq_ignore_ascii_case(b"get") => {
                Reply::Array(vec![Reply::Bulk(name.clone()), Reply::Bulk(Vec::new())])
            }
            (b"command", _) => Reply::Array(Vec::new()),
            (b"client" | b"select" | b"quit", _) => Reply::Ok,
            (b"echo" | b"get" | b"set" | b"del" | b"exists" | b"incr" | b"decr" | b"incrby", _) => {
                Reply::Error(format!(
                    "wrong number of arguments for '{}'",
                    String::from_utf8_lossy(name)
                ))
            }
            _ => Reply::Error(format!(
                "unknown command '{}'",
                String::from_utf8_lossy(name).escape_debug()
            )),
        }
    }

    fn get(&self, key: &[u8]) -> Reply {
        self.values.get(key).map_or(Reply::Nil, |value| Reply::Bulk(value.clone()))
    }

    fn add(&mut self, key: &[u8], by: Option<i64>) -> Reply {
        let before = self.values.get(key).map_or(Some(0), |value| integer(value));
        match before.zip(by).map(|(before, by)| before.checked_add(by)) {
            None => Reply::Error("value is not an integer or out of range".into()),
            Some(None) => Reply::Error("increment or decrement would overflow".into()),
            Some(Some(sum)) => {
                self.values.insert(key.to_vec(), sum.to_string().into_bytes());
                Reply::Integer(sum)
            }
        }
    }

    fn info(&self) -> String {
        let me = host::process::identity();
        format!(
            "# Server\r\nprocess_id:{}\r\nworker:{}\r\nuptime_in_seconds:{}\r\n# Keyspace\r\ndb0:keys={}\r\n",
            me.pid,
            me.worker.unwrap_or_default(),
            host::process::uptime().as_secs(),
            self.values.len()
        )
    }
}

fn count(keys: &[Vec<u8>], mut holds: impl FnMut(&[u8]) -> bool) -> Reply {
    Reply::Integer(keys.iter().filter(|key| holds(key)).count() as i64)
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
