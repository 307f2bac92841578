//! What the primary has found this machine to allow, and tells each child by its arguments.

use anyhow::{Result, bail};

/// The walls a child stands in when it starts, and those it must build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Walls {
    /// `--insecure-no-sandbox`: none at all.
    pub insecure: bool,
    /// Started in namespaces: a user namespace of its own,
    pub user: bool,
    /// one of mounts,
    pub mount: bool,
    /// and those of pids, network, System V IPC and host names.
    pub others: bool,
    /// Whom to become; `None` where the host itself is unprivileged.
    pub uid: Option<u32>,
}

/// "nobody" on every Linux.
pub const NOBODY: u32 = 65534;

const WORDS: [&str; 4] = ["insecure", "user", "mount", "others"];

impl Walls {
    pub fn insecure() -> Walls {
        Walls { insecure: true, ..Walls::default() }
    }

    /// The resolver looks up names and connects: that is what it is for.
    pub fn for_child(self, role: &str) -> Walls {
        match role {
            // It makes namespaces for others, and has to be who the primary is.
            "launcher" | "resolver" => Walls { user: false, mount: false, others: false, ..self },
            _ => self,
        }
    }

    /// Which namespaces of its own a child has.
    pub fn namespaces(&self) -> Vec<&'static str> {
        let all = [
            (self.others, &["pid", "net"][..]),
            (self.mount, &["mnt"]),
            (self.others, &["ipc", "uts"]),
            (self.user, &["user"]),
        ];
        all.iter().filter(|(on, _)| *on).flat_map(|(_, names)| names.iter().copied()).collect()
    }

    pub fn encode(&self) -> String {
        let on = [self.insecure, self.user, self.mount, self.others];
        let mut words: Vec<String> =
            WORDS.iter().zip(on).filter(|(_, on)| *on).map(|(word, _)| (*word).into()).collect();
        words.extend(self.uid.map(|uid| uid.to_string()));
        if words.is_empty() { "none".to_owned() } else { words.join(",") }
    }

    pub fn decode(text: &str) -> Result<Walls> {
        let mut walls = Walls::default();
        for word in text.split(',') {
            match word {
                "none" => {}
                "insecure" => walls.insecure = true,
                "user" => walls.user = true,
                "mount" => walls.mount = true,
                "others" => walls.others = true,
                number => match number.parse() {
                    Ok(uid) => walls.uid = Some(uid),
                    Err(_) => bail!("walls {text:?}: unknown word {word:?}"),
                },
            }
        }
        Ok(walls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_reads_what_the_primary_wrote() {
        for bits in 0..16 {
            for uid in [None, Some(NOBODY)] {
                let on = |n: i32| bits & (1 << n) != 0;
                let walls =
                    Walls { insecure: on(0), user: on(1), mount: on(2), others: on(3), uid };
                assert_eq!(Walls::decode(&walls.encode()).unwrap(), walls);
            }
        }
        assert!(Walls::decode("mount,whatever").is_err());
    }
}
