//! Logs of containers that are gone, and readers that are not done yet.
//!
//! A reader, and the writer, holds a shared lock on the log's directory. A container's directory is removed by renaming it, which
//! readers do not feel, and is deleted when no reader is left: by the remover, by the last of them, or by `gc`.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use rand::Rng as _;
use rustix::fs::{FlockOperation, flock};

/// What the names of removed containers' directories begin with, and those of layers that are set aside; no container's name does.
pub(crate) const PREFIX: &str = ".gone-";

/// Removes a container's directory: out of sight at once, deleted when its log has no reader.
pub(crate) fn retire(container: &Path) -> io::Result<()> {
    let name = container.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let gone = container.with_file_name(format!("{PREFIX}{name}-{:08x}", rand::rng().random::<u32>()));
    match fs::rename(container, &gone) {
        Ok(()) => delete_unless_read(&gone).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes a removed container's directory unless its log has a reader; whether it did.
pub(crate) fn delete_unless_read(gone: &Path) -> io::Result<bool> {
    // They have no reader, and may be large.
    match fs::remove_dir_all(gone.join("snapshots")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Ok(log) = File::open(gone.join("log"))
        && flock(&log, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        return Ok(false);
    }
    match fs::remove_dir_all(gone) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Opens a log's directory and keeps it from being deleted while the handle is open.
pub(super) fn hold(log: &Path) -> io::Result<File> {
    let directory = File::open(log)?;
    flock(&directory, FlockOperation::LockShared)?;
    Ok(directory)
}

/// Lets a log's directory go; the last one to do so deletes it if its container is gone.
pub(super) fn release(directory: File) {
    let at = path_of(&directory);
    drop(directory);
    let gone = at
        .as_deref()
        .and_then(Path::parent)
        .filter(|parent| parent.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())));
    if let Some(gone) = gone
        && let Err(error) = delete_unless_read(gone)
    {
        tracing::warn!(path = %gone.display(), %error, "cannot delete the log of a removed container; `appc gc` will");
    }
}

/// Where an open directory is now.
fn path_of(directory: &File) -> Option<PathBuf> {
    fs::read_link(handle_path(directory)).ok()
}

/// A path to an open directory that holds also when it is renamed.
pub(super) fn handle_path(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}
