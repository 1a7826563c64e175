//! A command's environment: what the spec gives, and what every command needs.

use std::{collections::BTreeMap, ffi::OsString};

use appcontainers_wire::SpawnFailure;

use crate::user::User;

/// Where commands are looked up if the spec does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads `KEY=VALUE` entries; a later one wins.
    pub(super) fn new(entries: &[String]) -> Result<Self, SpawnFailure> {
        let mut variables = BTreeMap::new();
        for entry in entries {
            match entry.split_once('=') {
                Some((key, value)) if !key.is_empty() => variables.insert(key.into(), value.into()),
                _ => {
                    return Err(SpawnFailure::Other {
                        why: format!("the environment entry {entry:?} is not KEY=VALUE"),
                    });
                }
            };
        }
        Ok(Self(variables))
    }

    /// Adds `HOME`, `USER` and `PATH` where they are missing.
    pub(super) fn complete(&mut self, user: &User) {
        let defaults =
            [("HOME", user.home.as_os_str()), ("USER", user.name.as_os_str()), ("PATH", DEFAULT_PATH.as_ref())];
        for (key, value) in defaults {
            self.0.entry(key.into()).or_insert_with(|| value.to_owned());
        }
    }

    /// Where commands are looked up.
    pub(super) fn path(&self) -> OsString {
        self.0.get(&OsString::from("PATH")).cloned().unwrap_or_default()
    }
}

impl IntoIterator for Environment {
    type Item = (OsString, OsString);
    type IntoIter = std::collections::btree_map::IntoIter<OsString, OsString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User { name: "app".into(), uid: 1000, gid: 1000, groups: Vec::new(), home: "/home/app".into() }
    }

    #[test]
    fn what_is_given_wins_over_what_is_added_and_a_later_one_over_an_earlier() {
        let given = ["A=1", "PATH=/opt", "A=2", "B=x=y", "C="].map(str::to_owned);
        let mut environment = Environment::new(&given).unwrap();
        environment.complete(&user());
        let pairs: Vec<String> =
            environment.into_iter().map(|(key, value)| format!("{}={}", key.display(), value.display())).collect();
        assert_eq!(pairs, ["A=2", "B=x=y", "C=", "HOME=/home/app", "PATH=/opt", "USER=app"]);
    }

    #[test]
    fn an_entry_that_execve_would_misread_is_refused() {
        for bad in ["", "A", "=1"] {
            assert!(Environment::new(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
