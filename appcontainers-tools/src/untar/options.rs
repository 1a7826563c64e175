//! What `untar` was asked for.

use std::ffi::{OsStr, OsString};

/// Why the arguments are not understood.
#[derive(Debug, thiserror::Error)]
#[error("untar takes --into DIR [--existing] or --to DEST [--top NAME], --user USER, --owner USER, --owners, --confine [--keep-privileges], not {}", argument.display())]
pub(super) struct Usage {
    argument: OsString,
}

/// Where the members go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Below the user's home, made if it is missing.
    Home,
    /// Below a directory; unless it must exist, what is missing of it is made.
    Into { directory: OsString, must_exist: bool },
    /// As `cp` does: the archive's one tree goes into the directory `path`, or becomes `path`, whose parent is there.
    To {
        path: OsString,
        /// What the tree is called in a directory, whatever the archive calls it.
        top: Option<OsString>,
    },
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) target: Target,
    /// Whose home relative paths start from; root's if absent.
    pub(super) user: Option<String>,
    /// Whose everything becomes; the archive says it if absent.
    pub(super) owner: Option<String>,
    /// Obey what an archive of our own says of its members' owners by name.
    pub(super) owners: bool,
    /// Give up all of the file system but the target, follow no link in it, and drop what grants rights.
    pub(super) confine: bool,
    /// Keep what grants rights all the same.
    pub(super) keep_privileges: bool,
}

impl Options {
    pub(super) fn parse(arguments: &[OsString]) -> Result<Self, Usage> {
        let (mut into, mut to, mut top, mut user, mut owner) = (None, None, None, None, None);
        let (mut existing, mut owners, mut confine, mut keep_privileges) = (false, false, false, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let usage = || Usage { argument: argument.clone() };
            let text =
                |value: Option<&OsString>| value.and_then(|value| value.to_str()).map(str::to_owned).ok_or_else(usage);
            match argument.to_str() {
                Some("--into") => into = Some(rest.next().ok_or_else(usage)?),
                Some("--to") => to = Some(rest.next().ok_or_else(usage)?),
                Some("--top") => top = Some(rest.next().ok_or_else(usage)?),
                Some("--user") => user = Some(text(rest.next())?),
                Some("--owner") => owner = Some(text(rest.next())?),
                Some("--existing") => existing = true,
                Some("--owners") => owners = true,
                Some("--confine") => confine = true,
                Some("--keep-privileges") => keep_privileges = true,
                _ => return Err(usage()),
            }
        }
        // `~USER` is that user's home, as in a shell.
        if let Some(name) = into.and_then(|directory| directory.to_str()?.strip_prefix('~')) {
            into = None;
            user = if name.is_empty() { user } else { Some(name.to_owned()) };
        }
        let target = match (into, to) {
            (Some(_), Some(_)) => return Err(Usage { argument: OsStr::new("both").to_owned() }),
            (Some(directory), None) => Target::Into { directory: directory.clone(), must_exist: existing },
            (None, Some(path)) => Target::To { path: path.clone(), top: top.cloned() },
            (None, None) => Target::Home,
        };
        Ok(Self { target, user, owner, owners, confine, keep_privileges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Usage> {
        Options::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_tilde_is_a_home() {
        for (line, user) in
            [("", None), ("--into ~", None), ("--into ~app", Some("app")), ("--into ~ --user b", Some("b"))]
        {
            let options = parse(line).unwrap();
            assert_eq!((options.target, options.user.as_deref()), (Target::Home, user), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [("--in a", "--in"), ("--into", "--into"), ("--to a --into b", "both"), ("a", "a")] {
            let why = parse(line).unwrap_err().to_string();
            assert!(why.ends_with(&format!("not {named}")), "{why}");
        }
    }
}
