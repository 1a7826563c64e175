//! The state directory's tree and its modes.
//!
//! Directories on the way to a container's files have x for everyone and nothing else: the container's
//! ids are other users to the host, and must get through without listing what is there. The rest is root's.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{Change, SetupError};
use crate::{Paths, state::create_directory};

/// Directories and their modes, parents first.
pub(crate) fn layout(paths: &Paths) -> Vec<(PathBuf, u32)> {
    let root = paths.root();
    vec![
        (root.to_owned(), 0o711),
        (root.join("images"), 0o700),
        (paths.bases(), 0o700),
        (paths.user_images(), 0o700),
        (paths.layers(), 0o700),
        (root.join("overlays"), 0o711),
        (paths.raw_overlays(), 0o711),
        (paths.tmp_overlays(), 0o711),
        (paths.layer_mounts(), 0o711),
        (paths.containers(), 0o711),
        (paths.skeletons(), 0o700),
        (paths.volumes(), 0o711),
        (paths.secrets(), 0o700),
        (paths.events(), 0o700),
        (paths.build_cache(), 0o700),
    ]
}

/// Makes what is missing and sets modes right.
pub(super) fn set_up(paths: &Paths) -> Result<Vec<Change>, SetupError> {
    let mut changes = Vec::new();
    if let Some(parent) = paths.root().parent() {
        fs::create_dir_all(parent).map_err(directory_error(parent))?;
    }
    for (path, mode) in layout(paths) {
        if create_directory(&path, mode).map_err(directory_error(&path))? {
            changes.push(Change::DirectoryCreated { path });
        } else if mode_of(&path).map_err(directory_error(&path))? != mode {
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(directory_error(&path))?;
            changes.push(Change::ModeSet { path, mode });
        }
    }
    Ok(changes)
}

/// Removes the directories that are empty.
pub(super) fn undo(paths: &Paths) -> Result<Vec<Change>, SetupError> {
    let mut changes = Vec::new();
    for (path, _) in layout(paths).into_iter().rev() {
        match fs::remove_dir(&path) {
            Ok(()) => changes.push(Change::Removed { path }),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy => {}
                _ => return Err(directory_error(&path)(error)),
            },
        }
    }
    Ok(changes)
}

/// A directory's permissions.
pub(crate) fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(path.metadata()?.mode() & 0o7777)
}

fn directory_error(path: &Path) -> impl Fn(io::Error) -> SetupError {
    move |source| SetupError::Directory { path: path.to_owned(), source }
}
