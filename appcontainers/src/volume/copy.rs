//! Copies of a volume's files: to the disk before they get their name.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{RenameFlags, renameat_with, syncfs};

use super::{VolumeError, VolumePlace, VolumeRecord, error::step, open_at, open_directory};
use crate::{
    Progress, VolumeName, disk_image,
    image::pack::IdShift,
    overlay::{self, Contents, Shift},
    progress::Step,
    state::{Durability, create_directory, write},
};

/// The same ids: a volume's files have the containers'.
const UNSHIFTED: Shift = Shift { from: IdShift::NONE, to: IdShift::NONE };

/// Copies files and brings them to the disk.
pub(super) fn copy_files(
    name: &VolumeName,
    source: &OwnedFd,
    dest: &OwnedFd,
    progress: &dyn Progress,
) -> Result<Contents, VolumeError> {
    let step_of = Step::begin(progress, "copying the volume's files", None);
    let copied = overlay::copy(source.as_fd(), dest.as_fd(), UNSHIFTED, &step_of);
    copied.map_err(|source| VolumeError::Copy { name: name.clone(), source })
}

/// Syncs the file system that `directory` is on.
pub(super) fn sync(name: &VolumeName, directory: &OwnedFd, path: &Path) -> Result<(), VolumeError> {
    syncfs(directory).map_err(step(name, "sync", path))
}

/// Makes the parts of a volume without files, in a directory that has no name of its own yet.
pub(super) fn make_parts(name: &VolumeName, place: &VolumePlace, record: &VolumeRecord) -> Result<(), VolumeError> {
    let made = create_directory(place.directory(), 0o700);
    made.map_err(step(name, "create", place.directory()))?;
    create_directory(&place.snapshots(), 0o700).map_err(step(name, "create", place.snapshots()))?;
    make_files(name, &place.files(), &place.image(), record)?;
    Ok(write(&place.record(), record, Durability::Durable)?)
}

/// Makes an empty place for files, of the one kind or the other.
pub(super) fn make_files(
    name: &VolumeName,
    files: &Path,
    image: &Path,
    record: &VolumeRecord,
) -> Result<(), VolumeError> {
    match record.size_bytes {
        Some(bytes) => {
            disk_image::create(image, bytes).map_err(|source| VolumeError::Image { name: name.clone(), source })
        }
        None => create_directory(files, 0o755).map(drop).map_err(step(name, "create", files)),
    }
}

/// Opens the root of the files in `files` or, of a sized volume, in `image`.
pub(super) fn open_files(
    name: &VolumeName,
    files: &Path,
    image: &Path,
    record: &VolumeRecord,
) -> Result<OwnedFd, VolumeError> {
    match record.size_bytes {
        Some(_) => {
            disk_image::mount(image).and_then(|mount| disk_image::open_root(&mount)).map_err(step(name, "mount", image))
        }
        None => open_directory(files).map_err(step(name, "open", files)),
    }
}

/// Opens the root of a volume's files.
pub(super) fn open_volume(name: &VolumeName, place: &VolumePlace) -> Result<OwnedFd, VolumeError> {
    let (opened, mount) = open_at(place).map_err(step(name, "open", place.directory()))?;
    match mount {
        Some(mount) => disk_image::open_root(&mount).map_err(step(name, "open", place.image())),
        None => Ok(opened),
    }
}

/// Gives what is whole its name. False if another one has it.
pub(super) fn give_name(name: &VolumeName, from: &Path, to: &Path) -> Result<bool, VolumeError> {
    let parent = to.parent().unwrap_or(to);
    let directory = File::open(parent).map_err(step(name, "open", parent))?;
    match renameat_with(&directory, from, &directory, to, RenameFlags::NOREPLACE) {
        Ok(()) => directory.sync_all().map(|()| true).map_err(step(name, "sync", parent)),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(step(name, "rename", to)(errno)),
    }
}
