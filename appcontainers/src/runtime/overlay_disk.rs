//! The disk of a container whose writable layer has a limit: a file system in a file, mounted where the layer is.
//!
//! ```text
//! containers/NAME/disk.ext4        the file
//! overlays/raw/NAME                where it is mounted, in the host's mount namespace, as layers are
//! overlays/raw/NAME/upper, work    are in it
//! ```
//! It is mounted by whoever locks the container first after the host's boot, and unmounted when the container is removed or
//! renamed: all that works on the layer finds it where those without a limit have it.

use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use appcontainers_sys::mount;
use rustix::{
    fs::CWD,
    mount::{MoveMountFlags, move_mount},
};

use super::{
    RuntimeError,
    error::host_error,
    finish::remove_tree,
    rootfs::{Upper, WORK, create_layer, overlay_dir},
};
use crate::{
    ContainerName, Paths,
    disk_image::{self, DiskImageError},
    network::IdRange,
    record::{ContainerRecord, OverlayKind},
    state::temporary_beside,
};

fn failed(name: &ContainerName) -> impl Fn(DiskImageError) -> RuntimeError + '_ {
    move |source| RuntimeError::Disk { name: name.clone(), source }
}

/// The file of a container's disk.
pub(crate) fn disk_file(paths: &Paths, name: &ContainerName) -> PathBuf {
    paths.container(name).join("disk.ext4")
}

/// Gives a container that has no files yet a disk of so many bytes.
pub(crate) fn create_disk(
    paths: &Paths,
    name: &ContainerName,
    kind: OverlayKind,
    range: Option<IdRange>,
    bytes: u64,
) -> Result<(), RuntimeError> {
    let path = disk_file(paths, name);
    let temporary = temporary_beside(&path).map_err(host_error("find a free name beside", &path))?;
    let made = disk_image::create(&temporary, bytes)
        .map_err(failed(name))
        .and_then(|()| prepare(&temporary, range))
        .and_then(|()| fs::rename(&temporary, &path).map_err(host_error("rename", &temporary)));
    if made.is_err() {
        remove_tree(&temporary)?;
    }
    made.and_then(|()| mount_at(paths, name, kind))
}

/// Makes the directories of a layer in a new disk.
fn prepare(file: &Path, range: Option<IdRange>) -> Result<(), RuntimeError> {
    let root = disk_image::mount(file).and_then(|mount| disk_image::open_root(&mount));
    let root = root.map_err(host_error("mount", file))?;
    let failed = || host_error("prepare", file);
    rustix::fs::fchmod(&root, 0o711.into()).map_err(|errno| failed()(errno.into()))?;
    for part in [Upper::Present.as_str(), WORK] {
        create_layer(root.as_fd(), part, range).map_err(failed())?;
    }
    rustix::fs::syncfs(&root).map_err(|errno| failed()(errno.into()))
}

/// Mounts a container's disk, if it has one that is not mounted. The caller has the container's lock.
pub(crate) fn ensure_disk(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    if !disk_file(paths, name).exists() {
        return Ok(());
    }
    match ContainerRecord::load(paths, name)? {
        Some(record) => mount_at(paths, name, record.overlay),
        None => Ok(()),
    }
}

fn mount_at(paths: &Paths, name: &ContainerName, kind: OverlayKind) -> Result<(), RuntimeError> {
    let target = overlay_dir(paths, name, kind);
    if mount::is_mount_point(&target).map_err(host_error("look at", &target))? {
        return Ok(());
    }
    // What is below would be hidden for good: nothing, or what was copied to the disk.
    for part in [Upper::Present.as_str(), Upper::Next.as_str(), WORK] {
        remove_tree(&target.join(part))?;
    }
    let file = disk_file(paths, name);
    let mounted = disk_image::mount(&file).and_then(|disk| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(move_mount(&disk, "", CWD, &target, flags)?)
    });
    mounted.map_err(host_error("mount the container's disk", file))
}

/// Unmounts a container's disk, wherever it is.
pub(crate) fn unmount_disk(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    for kind in [OverlayKind::Raw, OverlayKind::Tmp] {
        let target = overlay_dir(paths, name, kind);
        while mount::is_mount_point(&target).map_err(host_error("look at", &target))? {
            mount::unmount_lazily(&target).map_err(host_error("unmount", &target))?;
        }
    }
    Ok(())
}

/// Removes a container's disk.
pub(crate) fn remove_disk(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    unmount_disk(paths, name)?;
    remove_tree(&disk_file(paths, name))
}

/// Gives a container's disk more room, also while it runs.
pub(crate) fn grow_disk(paths: &Paths, name: &ContainerName, bytes: u64) -> Result<(), RuntimeError> {
    disk_image::grow(&disk_file(paths, name), bytes).map_err(failed(name))
}

/// Another disk for a container that does not run, into which `fill` copies its layer (from the first directory to the second);
/// also for one that had none.
pub(crate) fn replace_disk<E: From<RuntimeError>>(
    paths: &Paths,
    name: &ContainerName,
    kind: OverlayKind,
    range: Option<IdRange>,
    bytes: u64,
    fill: impl FnOnce(&Path, std::os::fd::OwnedFd) -> Result<(), E>,
) -> Result<(), E> {
    let path = disk_file(paths, name);
    let temporary = temporary_beside(&path).map_err(host_error("find a free name beside", &path))?;
    let make = || -> Result<(), E> {
        disk_image::create(&temporary, bytes).map_err(failed(name))?;
        prepare(&temporary, range)?;
        let root = disk_image::mount(&temporary).and_then(|mount| disk_image::open_root(&mount));
        let root = root.map_err(host_error("mount", &temporary))?;
        let upper = overlay_dir(paths, name, kind).join(Upper::Present.as_str());
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let dest = rustix::fs::openat(&root, Upper::Present.as_str(), flags, rustix::fs::Mode::empty());
        fill(&upper, dest.map_err(|errno| host_error("open", &temporary)(errno.into()))?)?;
        rustix::fs::syncfs(&root).map_err(|errno| host_error("sync", &temporary)(errno.into()))?;
        drop(root);
        // From here on, this is the container's.
        fs::rename(&temporary, &path).map_err(host_error("rename", &temporary))?;
        let directory = paths.container(name);
        let synced = fs::File::open(&directory).and_then(|directory| directory.sync_all());
        Ok(synced.map_err(host_error("sync", directory))?)
    };
    let made = make();
    if made.is_err() {
        remove_tree(&temporary)?;
        return made;
    }
    unmount_disk(paths, name)?;
    Ok(mount_at(paths, name, kind)?)
}
