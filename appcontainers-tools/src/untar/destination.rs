//! Where an archive's members go, and what they are called there.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::{
    options::Target,
    place::{Place, PlaceError, relative},
};
use crate::{
    archive::{Kind, Member, printable},
    user::User,
};

/// Why members can't go where they should.
#[derive(Debug, thiserror::Error)]
pub(super) enum DestinationError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot copy to {path}: {source}")]
    Open { path: String, source: Errno },
    #[error("cannot copy to {path}: there is no such directory, and a file is to be copied")]
    NoSuchDirectory { path: String },
    #[error("{member}: it is not of the tree that is copied")]
    Outside { member: String },
}

/// What members are called.
#[derive(Debug)]
enum Naming {
    /// As in the archive.
    Same,
    /// The archive is one tree. What it is called is learnt from the first member.
    Tree {
        top: Option<Top>,
        /// What it becomes; as it is called if absent.
        name: Option<OsString>,
        /// Only a directory may become this.
        must_be_directory: bool,
    },
}

/// What an archive's one tree is called.
#[derive(Debug)]
enum Top {
    /// `.`: it has no name.
    Contents,
    Named(PathBuf),
}

/// A place, and what members are called in it.
pub(super) struct Destination {
    pub(super) place: Place,
    naming: Naming,
    /// As it was asked for.
    asked: PathBuf,
}

impl Destination {
    /// Finds out where things go. Relative paths start from the user's home.
    pub(super) fn open(target: &Target, user: &User) -> Result<Self, DestinationError> {
        let home = Path::new("/").join(&user.home);
        let same = |place, asked| Self { place, naming: Naming::Same, asked };
        Ok(match target {
            Target::Home => same(Place::open(&home, Some((user.uid, user.gid)))?, home),
            Target::Into { directory, must_exist: false } => {
                let asked = home.join(directory);
                same(Place::open(&asked, None)?, asked)
            }
            Target::Into { directory, must_exist: true } => {
                let asked = home.join(directory);
                same(Place::existing(&asked).map_err(|source| not_open(&asked, source))?, asked)
            }
            Target::To { path, top } => Self::open_tree(home.join(path), top.clone())?,
        })
    }

    /// An existing directory takes the tree; anything else is what the tree becomes, in a directory that exists.
    fn open_tree(asked: PathBuf, top: Option<OsString>) -> Result<Self, DestinationError> {
        let tree = |name, must_be_directory| Naming::Tree { top: None, name, must_be_directory };
        let bytes = asked.as_os_str().as_bytes();
        match Place::existing(&asked) {
            Ok(place) => return Ok(Self { place, naming: tree(top, false), asked }),
            // `DIR/.` says that it must be there.
            Err(Errno::NOENT | Errno::NOTDIR) if !bytes.ends_with(b"/.") => {}
            Err(source) => return Err(not_open(&asked, source)),
        }
        let (Some(parent), Some(name)) = (asked.parent(), asked.file_name()) else {
            return Err(not_open(&asked, Errno::NOENT));
        };
        let place = Place::existing(parent).map_err(|source| not_open(&asked, source))?;
        let naming = tree(Some(name.to_owned()), bytes.ends_with(b"/"));
        Ok(Self { place, naming, asked })
    }

    /// What a member is called below the place; empty for the place itself.
    pub(super) fn path(&mut self, member: &Member) -> Result<PathBuf, DestinationError> {
        let path = relative(&member.path)?;
        if let Naming::Tree { top: top @ None, must_be_directory, .. } = &mut self.naming {
            if *must_be_directory && member.kind != Kind::Directory {
                return Err(DestinationError::NoSuchDirectory { path: printable_path(&self.asked) });
            }
            *top = Some(match path.iter().next() {
                None => Top::Contents,
                Some(first) => Top::Named(first.into()),
            });
        }
        self.rename(path, &member.path)
    }

    /// What the target of a hard link is called.
    pub(super) fn link(&self, to: &[u8]) -> Result<PathBuf, DestinationError> {
        self.rename(relative(to)?, to)
    }

    fn rename(&self, path: PathBuf, said: &[u8]) -> Result<PathBuf, DestinationError> {
        let Naming::Tree { top: Some(top), name, .. } = &self.naming else { return Ok(path) };
        let below = match top {
            Top::Contents => path.as_path(),
            Top::Named(top) => {
                path.strip_prefix(top).map_err(|_| DestinationError::Outside { member: printable(said) })?
            }
        };
        Ok(match (name.as_deref().map(Path::new), top) {
            (None, _) => path,
            (Some(name), _) if below == Path::new("") => name.to_owned(),
            (Some(name), _) => name.join(below),
        })
    }
}

fn not_open(path: &Path, source: Errno) -> DestinationError {
    DestinationError::Open { path: printable_path(path), source }
}

fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}
