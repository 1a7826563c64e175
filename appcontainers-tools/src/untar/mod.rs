//! `untar [--into DIR | --to DEST] [OPTIONS]`: the way an archive's files come into a container, and, confined, out of
//! one. Reads a plain tar from standard input and extracts it below a directory, as root.
//!
//! Everything in the archive is hostile. Names are taken relative to the directory and resolved below it by the kernel
//! (openat2), whatever symbolic links are there or come with the archive. A file is written under a temporary name and
//! renamed, so that a full disk or the end of this process never leaves half of it. Nothing is removed but what a
//! member of the same name takes the place of.
//!
//! On the host it is confined as well: the directory is all of the file system that it has (chroot), no symbolic link
//! is followed, and what grants rights is dropped.

mod destination;
mod input;
mod metadata;
mod options;
mod place;
mod write;

use std::{ffi::OsString, process::ExitCode};

use rustix::io::Errno;

use self::{
    destination::{Destination, DestinationError},
    metadata::Metadata,
    options::{Options, Target, Usage},
    write::Writer,
};
use crate::{
    archive::{Archive, ArchiveError},
    report,
    user::{self, User, UserError},
};

/// The first argument of this operation.
pub(crate) const WORD: &str = "untar";

/// Why an archive is not, or not wholly, extracted.
#[derive(Debug, thiserror::Error)]
enum UntarError {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Write(#[from] write::WriteError),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error("cannot confine this process to the directory it writes to: {source}")]
    Confine { source: Errno },
    #[error("cannot read standard input: {source}")]
    Input { source: std::io::Error },
}

/// Extracts; the arguments are those behind the operation's name.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match untar(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn untar(arguments: &[OsString]) -> Result<(), UntarError> {
    let options = Options::parse(arguments)?;
    let owner = options.owner.as_deref().map(|owner| user::find(Some(owner))).transpose()?;
    let mut destination = Destination::open(&options.target, &user::find(options.user.as_deref())?)?;
    let input = input::Input::open().map_err(|source| UntarError::Input { source })?;
    if options.confine {
        destination.place.confine().map_err(|source| UntarError::Confine { source })?;
    }
    let metadata = Metadata::new(!options.confine || options.keep_privileges);
    let mut writer = Writer::new(destination, metadata, matches!(options.target, Target::To { .. }));
    let mut archive = Archive::new(input);
    while let Some(mut member) = archive.next_member()? {
        let named = member.owner.take().filter(|_| options.owners).map(|name| named(&name)).transpose()?;
        if let Some(owner) = owner.as_ref().or(named.as_ref()) {
            (member.uid, member.gid) = (owner.uid.into(), owner.gid.into());
        }
        writer.write(&member, &mut archive)?;
    }
    writer.finish()?;
    Ok(archive.finish()?)
}

/// Who is meant by a name in an archive of our own.
fn named(name: &[u8]) -> Result<User, UserError> {
    user::find(Some(&String::from_utf8_lossy(name)))
}
