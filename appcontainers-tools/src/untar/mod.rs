//! `untar [--into DIR] [--user USER]`: the way an archive's files come into a container. Reads a plain tar from standard
//! input and extracts it below a directory, as the container's root.
//!
//! Everything in the archive is hostile. Names are taken relative to the directory and resolved below it by the kernel
//! (openat2), whatever symbolic links are there or come with the archive. A file is written under a temporary name and
//! renamed, so that a full disk or the end of this process never leaves half of it. Nothing is removed but what a
//! member of the same name takes the place of.

mod archive;
mod header;
mod input;
mod pax;
mod place;
mod sparse;
mod write;

use std::{io::Read, path::Path, process::ExitCode};

use self::{
    archive::{Archive, ArchiveError},
    place::Place,
    write::Writer,
};
use crate::{
    report,
    user::{self, User, UserError},
};

/// The first argument of this operation.
pub(crate) const WORD: &str = "untar";

/// Why an archive is not, or not wholly, extracted.
#[derive(Debug, thiserror::Error)]
enum UntarError {
    #[error("untar takes --into DIR and --user USER, not {argument:?}")]
    Usage { argument: String },
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Write(#[from] write::WriteError),
    #[error(transparent)]
    Place(#[from] place::PlaceError),
    #[error("cannot read standard input: {source}")]
    Input { source: std::io::Error },
}

/// Extracts; the arguments are those behind the operation's name.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    match untar(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn untar(arguments: &[&str]) -> Result<(), UntarError> {
    let (mut into, mut user) = (None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (*argument, rest.next()) {
            ("--into", Some(directory)) => into = Some(*directory),
            ("--user", Some(name)) => user = Some(*name),
            (other, _) => return Err(UntarError::Usage { argument: other.to_owned() }),
        }
    }
    // `~USER` is that user's home, as in a shell.
    if let Some(name) = into.and_then(|directory| directory.strip_prefix('~')) {
        into = None;
        user = if name.is_empty() { user } else { Some(name) };
    }
    let user = user::find(user)?;
    let place = open_place(into, &user)?;
    let input = input::Input::open().map_err(|source| UntarError::Input { source })?;
    extract(&mut Archive::new(input), Writer::new(place))
}

/// The directory to extract into: the one that is asked for (from the home directory), else the home directory, which
/// is made as its owner's if it is missing.
fn open_place(into: Option<&str>, user: &User) -> Result<Place, UntarError> {
    let home = Path::new("/").join(&user.home);
    Ok(match into {
        Some(directory) => Place::open(&home.join(directory), None)?,
        None => Place::open(&home, Some((user.uid, user.gid)))?,
    })
}

fn extract(archive: &mut Archive<impl Read>, mut writer: Writer) -> Result<(), UntarError> {
    while let Some(member) = archive.next_member()? {
        writer.write(&member, archive)?;
    }
    writer.finish()?;
    Ok(archive.finish()?)
}
