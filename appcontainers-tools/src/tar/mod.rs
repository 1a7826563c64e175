//! `tar [--user USER] PATH`: the way files come out of a container, and from the host on their way into one. Writes a
//! file, or a directory with all below it, to standard output as a POSIX archive (pax), as root.
//!
//! Modes, owners as numbers, times to the nanosecond, hard and symbolic links, fifos, device numbers, extended
//! attributes and holes are kept; names are bytes. What is mounted below PATH is left out and said, except files;
//! sockets are left out and said. A file that changes while it is read never spoils the archive.
//!
//! Exit codes: 0 the archive has all; 1 it is whole, and something in it is not as it was; 2 it is not whole.

mod entry;
mod holes;
mod links;
mod output;
mod source;
mod walk;
mod xattrs;

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::ExitCode,
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use self::{
    output::Output,
    source::Source,
    walk::{Walk, WalkError},
};
use crate::{
    archive::printable,
    report,
    user::{self, UserError},
};

/// The first argument of this operation.
pub(crate) const WORD: &str = "tar";

/// The exit code for an archive that is whole, and not in everything as its files were.
const INCOMPLETE: u8 = 1;

/// The exit code for an archive that is not whole.
const FAILED: u8 = 2;

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
enum TarError {
    #[error("tar takes --user USER and one PATH")]
    Usage,
    #[error(transparent)]
    User(#[from] UserError),
    #[error("{path}: {source}")]
    Open { path: String, source: Errno },
    #[error("cannot write to standard output: {source}")]
    Output { source: std::io::Error },
    #[error(transparent)]
    Walk(#[from] WalkError),
}

/// Writes an archive; the arguments are those behind the operation's name.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match tar(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(INCOMPLETE),
        Err(error) => {
            report::error(format_args!("{error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Whether all is in the archive as it was.
fn tar(arguments: &[OsString]) -> Result<bool, TarError> {
    let (user, asked) = match arguments {
        [path] => (None, path),
        [option, user, path] if option == "--user" => (Some(user.to_str().ok_or(TarError::Usage)?), path),
        _ => return Err(TarError::Usage),
    };
    allow_deep_trees();
    let source = open(user, asked)?;
    let output = Output::open().map_err(|source| TarError::Output { source })?;
    Ok(Walk::new(output).write(source, asked)?)
}

/// Opens a path; a relative one starts from the user's home.
fn open(user: Option<&str>, asked: &OsStr) -> Result<Source, TarError> {
    let home = user::find(user)?.home;
    let path = Path::new("/").join(home).join(asked);
    Source::open(&path).map_err(|source| TarError::Open { path: printable(asked.as_bytes()), source })
}

/// One descriptor for each directory on the way from the top: as many as the kernel lets this process have.
fn allow_deep_trees() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
