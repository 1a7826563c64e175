//! The skeletons that come with this program, installed into the state directory.

use std::{fs, io, path::Path};

use include_dir::{Dir, DirEntry, include_dir};

use super::SkeletonError;
use crate::{
    Paths,
    setup::Change,
    state::{Durability, create_directory, replace},
};

static DEFAULTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../skeletons");

/// Puts our skeletons where they are missing or not what this version brings, and makes the user's
/// directory. What the user has there is never touched.
pub fn install_defaults(paths: &Paths) -> Result<Vec<Change>, SkeletonError> {
    let mut changes = Vec::new();
    let top = paths.skeletons();
    for directory in [&top, &top.join("default"), &top.join("user")] {
        make_directory(directory, &mut changes)?;
    }
    install(&DEFAULTS, &top.join("default"), &mut changes)?;
    Ok(changes)
}

fn install(from: &Dir<'_>, to: &Path, changes: &mut Vec<Change>) -> Result<(), SkeletonError> {
    for entry in from.entries() {
        let path = to.join(entry.path().file_name().unwrap_or_default());
        match entry {
            DirEntry::Dir(directory) => {
                make_directory(&path, changes)?;
                install(directory, &path, changes)?;
            }
            DirEntry::File(file) => {
                if fs::read(&path).is_ok_and(|installed| installed == file.contents()) {
                    continue;
                }
                replace(&path, file.contents(), 0o644, Durability::Volatile).map_err(cannot_install(&path))?;
                changes.push(Change::SkeletonInstalled { path });
            }
        }
    }
    Ok(())
}

fn make_directory(path: &Path, changes: &mut Vec<Change>) -> Result<(), SkeletonError> {
    if create_directory(path, 0o700).map_err(cannot_install(path))? {
        changes.push(Change::DirectoryCreated { path: path.to_owned() });
    }
    Ok(())
}

fn cannot_install(path: &Path) -> impl Fn(io::Error) -> SkeletonError {
    move |source| SkeletonError::Install { path: path.to_owned(), source }
}
