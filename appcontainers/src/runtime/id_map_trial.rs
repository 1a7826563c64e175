//! Whether this kernel shows layers with a container's ids: tried once after each boot.

use std::{fs, os::fd::AsFd};

use appcontainers_sys::{mount, userns};

use super::{
    RuntimeError, boot,
    error::host_error,
    layer_mount::{mount_layer, unmount_layer},
};
use crate::{ContainerName, Paths, image::Digest, network::IdRange};

/// An error that says what to do if `digest`, one of the container's layers, can't be shown with its ids.
pub(crate) fn check_id_mapping(
    paths: &Paths,
    name: &ContainerName,
    digest: &Digest,
    range: IdRange,
) -> Result<(), RuntimeError> {
    let fit = paths.run().join("id-mapped-layers");
    let boot = boot::id();
    if fs::read_to_string(&fit).is_ok_and(|tried| tried == boot) {
        return Ok(());
    }
    let layer = mount_layer(paths, name, digest)?;
    let target = paths.layer_mount(digest);
    let failed = |source| RuntimeError::MountLayer { digest: *digest, target: target.clone(), source };
    let namespace = userns::with_range_of_program(range.base(), range.count()).map_err(failed)?;
    if !mount::can_map_ids(&target, namespace.as_fd()).map_err(failed)? {
        // Nobody starts with it, so nobody would unmount it. What goes wrong with that is `gc`'s to mend.
        drop(layer);
        let _ = unmount_layer(paths, digest);
        let source = rustix::io::Errno::INVAL.into();
        return Err(RuntimeError::NoIdMappedLayers { name: name.clone(), digest: *digest, source });
    }
    drop(layer);
    fs::write(&fit, boot).map_err(host_error("write", fit))
}
