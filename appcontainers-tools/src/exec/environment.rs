//! A command's environment: what the spec gives, and what every command needs.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
};

use appcontainers_wire::SpawnFailure;

use crate::user::User;

/// Where commands are looked up if the spec does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is known of a terminal of which nothing is known.
const DEFAULT_TERM: &str = "xterm";

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
        self.add_missing("HOME", &user.home);
        self.add_missing("USER", &user.name);
        self.add_missing("PATH", DEFAULT_PATH.as_ref());
    }

    /// Adds `TERM` if it is missing.
    pub(super) fn complete_terminal(&mut self) {
        self.add_missing("TERM", DEFAULT_TERM.as_ref());
    }

    /// Adds what login(1) sets beside that, where it is missing.
    pub(super) fn complete_login(&mut self, user: &User, shell: &Path) {
        self.add_missing("LOGNAME", &user.name);
        self.add_missing("SHELL", shell.as_os_str());
    }

    fn add_missing(&mut self, key: &str, value: &OsStr) {
        self.0.entry(key.into()).or_insert_with(|| value.to_owned());
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
        let (name, home, shell) = ("app".into(), "/home/app".into(), "/bin/sh".into());
        User { name, uid: 1000, gid: 1000, groups: Vec::new(), home, shell }
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
    fn a_login_shell_on_a_terminal_finds_what_login_sets_and_keeps_what_is_given() {
        let mut environment = Environment::new(&["SHELL=/bin/zsh".to_owned()]).unwrap();
        environment.complete_terminal();
        environment.complete_login(&user(), Path::new("/bin/sh"));
        let pairs: Vec<_> = environment.into_iter().collect();
        let pair = |key: &str, value: &str| (key.into(), value.into());
        assert_eq!(pairs, [pair("LOGNAME", "app"), pair("SHELL", "/bin/zsh"), pair("TERM", "xterm")]);
    }

    #[test]
    fn an_entry_that_execve_would_misread_is_refused() {
        for bad in ["", "A", "=1"] {
            assert!(Environment::new(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
