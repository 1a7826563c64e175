//! What is executed: the command, or the user's login shell.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use appcontainers_wire::{ProcessSpec, SpawnFailure};

use super::lookup;
use crate::user::User;

/// The shell of whoever has none of their own (POSIX), or whose own is not in the image.
const DEFAULT_SHELL: &str = "/bin/sh";

/// A program and its words.
pub(super) struct Program<'a> {
    /// As it was asked for.
    pub(super) name: String,
    /// Its file.
    pub(super) path: PathBuf,
    /// What it sees as its own name.
    pub(super) arg0: OsString,
    pub(super) arguments: &'a [String],
}

impl<'a> Program<'a> {
    /// The command of the spec, looked up in `path`.
    pub(super) fn find(spec: &'a ProcessSpec, path: OsString) -> Result<Self, SpawnFailure> {
        let [name, arguments @ ..] = spec.argv.as_slice() else {
            return Err(SpawnFailure::Other { why: "there is no command to run".to_owned() });
        };
        Ok(Self { name: name.clone(), path: lookup::find(name, path)?, arg0: name.into(), arguments })
    }

    /// The user's login shell, which knows itself as one by a dash before its name (login(1)).
    pub(super) fn login_shell(spec: &'a ProcessSpec, user: &User) -> Result<Self, SpawnFailure> {
        let shell = shell_of(user);
        let path = match lookup::find_file(shell) {
            Err(SpawnFailure::NotFound { .. }) => lookup::find_file(DEFAULT_SHELL.as_ref())?,
            found => found?,
        };
        let mut arg0 = OsString::from("-");
        arg0.push(path.file_name().unwrap_or(path.as_os_str()));
        Ok(Self { name: path.display().to_string(), path, arg0, arguments: &spec.argv })
    }
}

/// The shell that the user's entry names, else the default one.
pub(super) fn shell_of(user: &User) -> &Path {
    let shell: &OsStr = if user.shell.is_empty() { DEFAULT_SHELL.as_ref() } else { &user.shell };
    Path::new(shell)
}
