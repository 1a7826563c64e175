//! Layers mounted in the host's mount namespace, once for all containers that have them.
//!
//! A layer's file is locked, shared, by whoever is about to use its mount, and exclusively by whoever mounts or
//! unmounts it. Once a container has its own copy of the mount, the kernel keeps the layer alive for it.

use std::{fs::File, io};

use appcontainers_sys::mount;
use rustix::fs::{FlockOperation, flock};

use super::{RuntimeError, error::host_error};
use crate::{ContainerName, Paths, image::Digest, state::create_directory};

/// A layer that stays mounted while this exists.
#[derive(Debug)]
pub(crate) struct MountedLayer {
    _file: File,
}

/// Mounts a layer of a container unless it is mounted.
pub(crate) fn mount_layer(paths: &Paths, name: &ContainerName, digest: &Digest) -> Result<MountedLayer, RuntimeError> {
    let path = paths.layer(digest);
    let file = File::open(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RuntimeError::LayerMissing { name: name.clone(), digest: *digest },
        _ => host_error("open layer", &path)(source),
    })?;
    let lock = |operation| flock(&file, operation).map_err(|errno| host_error("lock layer", &path)(errno.into()));
    let target = paths.layer_mount(digest);
    let failed = |source| RuntimeError::MountLayer { digest: *digest, target: target.clone(), source };
    lock(FlockOperation::LockShared)?;
    while !mount::is_mount_point(&target).map_err(failed)? {
        lock(FlockOperation::LockExclusive)?;
        if !mount::is_mount_point(&target).map_err(failed)? {
            create_directory(&target, 0o711).map_err(failed)?;
            mount::squashfs(&file, &target).map_err(failed)?;
        }
        // Giving the lock back and taking it again leaves a gap in which gc may unmount: look again.
        lock(FlockOperation::LockShared)?;
    }
    Ok(MountedLayer { _file: file })
}

/// Unmounts a layer and removes its mount point unless a start is about to use it. Containers that run keep
/// their own copies. Returns whether something was unmounted or removed.
pub(crate) fn unmount_layer(paths: &Paths, digest: &Digest) -> io::Result<bool> {
    let target = paths.layer_mount(digest);
    let _exclusive = match File::open(paths.layer(digest)) {
        Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Some(file),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if mount::is_mount_point(&target)? {
        mount::unmount_lazily(&target)?;
    }
    match std::fs::remove_dir(&target) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
