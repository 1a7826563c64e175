//! Writable layers that their container does not have any more. To remove many files may take longer than all else that a command
//! does, so they are set aside, and a process that nobody waits for removes them. What that one does not get to, `gc` takes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{RuntimeError, error::host_error, finish::remove_tree, programs, rootfs::overlay_dir};
use crate::{ContainerName, Paths, output::gone::PREFIX, record::OverlayKind};

/// Has a container's directory of this kind of overlay lose one of its layers; nothing there is fine.
pub(super) fn discard(paths: &Paths, name: &ContainerName, kind: OverlayKind, layer: &str) -> Result<(), RuntimeError> {
    let overlay = overlay_dir(paths, name, kind);
    let layer = overlay.join(layer);
    let aside = overlay.with_file_name(format!("{PREFIX}{name}-{:08x}", rand::random::<u32>()));
    match fs::rename(&layer, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // It is on a disk of its own, and can't leave that.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => return remove_tree(&layer),
        Err(error) => return Err(host_error("set aside", layer)(error)),
    }
    remove_later(&aside).or_else(|error| {
        tracing::warn!(%error, "nobody removes an old layer later, so it is removed now");
        remove_tree(&aside)
    })
}

fn remove_later(aside: &Path) -> Result<(), RuntimeError> {
    let program = programs::monitor()?;
    let mut command = Command::new(&program);
    command.arg("discard").arg(aside).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It goes on in a child of its own at once.
    let status = command.status().map_err(host_error("run", &program))?;
    if status.success() { Ok(()) } else { Err(host_error("run", &program)(io::Error::other(status.to_string()))) }
}

/// Those that are not removed yet.
pub(crate) fn discarded(paths: &Paths) -> Vec<PathBuf> {
    let directories = [paths.raw_overlays(), paths.tmp_overlays()];
    let entries = directories.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let is_discarded =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    entries.map(|entry| entry.path()).filter(is_discarded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_goes_and_its_overlay_stays() {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path().join("root"), place.path().join("run"));
        let name: ContainerName = "web".parse().unwrap();
        let overlay = overlay_dir(&paths, &name, OverlayKind::Raw);
        fs::create_dir_all(overlay.join("next/deep")).unwrap();
        discard(&paths, &name, OverlayKind::Raw, "next").unwrap();
        discard(&paths, &name, OverlayKind::Raw, "next").unwrap();
        assert!(overlay.is_dir() && !overlay.join("next").exists());
    }
}
