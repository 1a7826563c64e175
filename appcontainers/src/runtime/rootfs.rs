//! A container's root file system, in the monitor's own mount namespace: the layers with the container's ids,
//! the overlay over them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{MetadataExt, chown},
    },
    path::{Path, PathBuf},
};

use appcontainers_sys::{
    mount::{self, Overlay},
    userns,
};

use rustix::fs::{AtFlags, Gid, Mode, RenameFlags, Uid, chmodat, chownat, mkdirat, renameat_with, syncfs};

use super::{RuntimeError, discarded::discard, error::host_error, layer_mount::mount_layer, overlay_disk::ensure_disk};
use crate::{
    ContainerName, Paths,
    network::IdRange,
    record::{ContainerRecord, OverlayKind},
    state::{Durability, create_directory},
};

/// Overlayfs' own directory in an overlay's.
pub(super) const WORK: &str = "work";

/// The directory that holds a container's `upper` and `work`.
pub(crate) fn overlay_dir(paths: &Paths, name: &ContainerName, kind: OverlayKind) -> PathBuf {
    match kind {
        OverlayKind::Raw => paths.raw_overlays(),
        OverlayKind::Tmp => paths.tmp_overlays(),
    }
    .join(name.as_str())
}

/// One of a container's writable layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upper {
    /// The one that the container has.
    Present,
    /// The one that is to take its place, while it is made.
    Next,
}

impl Upper {
    /// Its directory in the overlay's.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Upper::Present => "upper",
            Upper::Next => "next",
        }
    }
}

/// Whether a name in a container's run directory is one on which a start mounts a directory.
pub(super) fn is_mount_point_of_start(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name == b"root"
        || name == crate::secret::PLACE.as_bytes()
        || name.strip_prefix(b"l").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
}

/// Makes a container's empty writable layer, which belongs to its id range.
pub(crate) fn create_overlay(
    paths: &Paths,
    name: &ContainerName,
    kind: OverlayKind,
    range: Option<IdRange>,
) -> Result<(), RuntimeError> {
    let directory = overlay_dir(paths, name, kind);
    create_directory(&directory, 0o711).map_err(host_error("create", &directory))?;
    for part in [Upper::Present.as_str(), WORK] {
        create_owned(&directory.join(part), range)?;
    }
    Ok(())
}

/// Makes a container's next writable layer, empty, beside the one that it has.
pub(crate) fn begin_renewal(
    paths: &Paths,
    record: &ContainerRecord,
    range: Option<IdRange>,
) -> Result<(), RuntimeError> {
    abandon_renewal(paths, &record.name)?;
    create_owned(&overlay_dir(paths, &record.name, record.overlay).join(Upper::Next.as_str()), range)
}

/// Where a container's next writable layer is while it is made.
pub(crate) fn next_layer(paths: &Paths, record: &ContainerRecord) -> PathBuf {
    overlay_dir(paths, &record.name, record.overlay).join(Upper::Next.as_str())
}

/// Puts the next writable layer in the place of the present one, in one step, and lets go of that.
pub(crate) fn complete_renewal(paths: &Paths, record: &ContainerRecord) -> Result<(), RuntimeError> {
    sync_renewal(paths, record)?;
    exchange_layers(paths, record)?;
    abandon_renewal(paths, &record.name)
}

/// Brings what is in the next writable layer to the disk, where it is to be kept: that comes before its name.
pub(crate) fn sync_renewal(paths: &Paths, record: &ContainerRecord) -> Result<(), RuntimeError> {
    if record.overlay.durability() == Durability::Volatile {
        return Ok(());
    }
    let overlay = overlay_dir(paths, &record.name, record.overlay);
    let directory = File::open(&overlay).map_err(host_error("open", &overlay))?;
    syncfs(&directory).map_err(|errno| host_error("sync", &overlay)(errno.into()))
}

/// Makes the directory of the inode `upper` the container's writable layer, if it is not: what was it is then the next one. False if
/// it is neither, and nothing is changed.
pub(crate) fn put_in_place(paths: &Paths, record: &ContainerRecord, upper: u64) -> Result<bool, RuntimeError> {
    let overlay = overlay_dir(paths, &record.name, record.overlay);
    let is_there = |layer: Upper| fs::metadata(overlay.join(layer.as_str())).is_ok_and(|found| found.ino() == upper);
    if is_there(Upper::Present) {
        return Ok(true);
    }
    let is_next = is_there(Upper::Next);
    if is_next {
        exchange_layers(paths, record)?;
    }
    Ok(is_next)
}

fn exchange_layers(paths: &Paths, record: &ContainerRecord) -> Result<(), RuntimeError> {
    let overlay = overlay_dir(paths, &record.name, record.overlay);
    let directory = File::open(&overlay).map_err(host_error("open", &overlay))?;
    let [present, next] = [Upper::Present, Upper::Next].map(Upper::as_str);
    renameat_with(&directory, present, &directory, next, RenameFlags::EXCHANGE)
        .map_err(|errno| host_error("exchange the writable layers in", &overlay)(errno.into()))?;
    if record.overlay.durability() == Durability::Durable {
        directory.sync_all().map_err(host_error("sync", &overlay))?;
    }
    Ok(())
}

/// The kinds of overlays that a container may have.
const OVERLAY_KINDS: [OverlayKind; 2] = [OverlayKind::Raw, OverlayKind::Tmp];

/// Lets go of what a renewal left, whether it came to its end or not: the next layer, or the last one.
pub(crate) fn abandon_renewal(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    OVERLAY_KINDS.into_iter().try_for_each(|kind| discard(paths, name, kind, Upper::Next.as_str()))
}

/// Where a renewal may have left something.
pub(crate) fn renewals(paths: &Paths, name: &ContainerName) -> impl Iterator<Item = PathBuf> {
    OVERLAY_KINDS.into_iter().map(|kind| overlay_dir(paths, name, kind).join(Upper::Next.as_str()))
}

/// Makes a directory of a layer in an open directory.
pub(super) fn create_layer(parent: BorrowedFd<'_>, name: &str, range: Option<IdRange>) -> io::Result<()> {
    mkdirat(parent, name, Mode::RWXU)?;
    let owner = range.map_or(0, |range| range.base());
    chownat(parent, name, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(chmodat(parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?)
}

fn create_owned(path: &Path, range: Option<IdRange>) -> Result<(), RuntimeError> {
    create_directory(path, 0o755).map_err(host_error("create", path))?;
    let owner = range.map(|range| range.base());
    chown(path, owner, owner).map_err(host_error("give away", path))
}

/// Leaves the host's mount namespace and mounts the container's root file system at `directory`/root.
/// Only for programs with one thread.
pub(crate) fn mount_rootfs(
    paths: &Paths,
    record: &ContainerRecord,
    range: Option<IdRange>,
    upper: Upper,
    directory: &Path,
) -> Result<PathBuf, RuntimeError> {
    let name = &record.name;
    ensure_disk(paths, name)?;
    let root = directory.join("root");
    create_directory(&root, 0o711).map_err(host_error("create", &root))?;
    let layers = record.layers.iter().map(|digest| mount_layer(paths, name, digest));
    let mounted = layers.collect::<Result<Vec<_>, _>>()?;
    let user_namespace = range
        .map(|range| userns::with_range(range.base(), range.count()))
        .transpose()
        .map_err(host_error("make a user namespace for", directory))?;
    mount::enter_slave_namespace().map_err(host_error("make a mount namespace for", directory))?;

    let mut lowers = Vec::with_capacity(record.layers.len());
    for (index, digest) in record.layers.iter().enumerate() {
        let lower = directory.join(format!("l{index}"));
        create_directory(&lower, 0o711).map_err(host_error("create", &lower))?;
        let of_layer = user_namespace.as_ref().map(|namespace| namespace.as_fd());
        mount::copy(&paths.layer_mount(digest), &lower, of_layer).map_err(|source| {
            if source.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) && range.is_some() {
                RuntimeError::NoIdMappedLayers { name: name.clone(), digest: *digest, source }
            } else {
                RuntimeError::MountLayer { digest: *digest, target: lower.clone(), source }
            }
        })?;
        lowers.push(PathBuf::from(format!("l{index}")));
    }
    drop(mounted);

    let overlay = overlay_dir(paths, name, record.overlay);
    let (upper, work) = (overlay.join(upper.as_str()), renew_work(&overlay, range)?);
    let failed = |source| RuntimeError::MountOverlay { name: name.clone(), target: root.clone(), source };
    std::env::set_current_dir(directory).map_err(failed)?;
    let uppermost_first: Vec<&Path> = lowers.iter().rev().map(PathBuf::as_path).collect();
    let options = Overlay {
        lowers: &uppermost_first,
        upper_and_work: Some((&upper, &work)),
        volatile: record.overlay == OverlayKind::Tmp,
    };
    mount::overlay(&options, &root).map_err(failed)?;
    std::env::set_current_dir("/").map_err(failed)?;
    Ok(root)
}

/// An empty work directory: a volatile overlay leaves a mark there that refuses the next mount.
fn renew_work(overlay: &Path, range: Option<IdRange>) -> Result<PathBuf, RuntimeError> {
    let work = overlay.join(WORK);
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(host_error("empty", &work)(error)),
        _ => create_owned(&work, range),
    }?;
    Ok(work)
}
