//! A volume's files as they were in a snapshot.
//!
//! ```text
//! a copy of the snapshot's files beside the volume's -> on the disk -> the two change places -> the old ones are removed
//! ```

use std::{fs::File, path::PathBuf};

use rustix::fs::{RenameFlags, renameat_with};

use super::{
    VolumeError,
    change::undone_on_error,
    copy::{copy_files, make_files, open_files, sync},
    error::step,
    look::running_users,
    open_directory,
};
use crate::{Error, Progress, Service, SnapshotName, VolumeName, runtime::remove_tree};

impl Service {
    /// Gives a volume the files of one of its snapshots, which stays. No container may run with the volume.
    pub fn roll_volume_back(
        &self,
        name: &VolumeName,
        snapshot: &SnapshotName,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let (_hold, place, record) = self.volume_alone(name)?;
        let source = place.snapshot(snapshot);
        if !source.exists() {
            return Err(VolumeError::NoSnapshot { name: name.clone(), snapshot: snapshot.clone() }.into());
        }
        if let Some(user) = running_users(self, name)?.into_iter().next() {
            return Err(VolumeError::Running { name: name.clone(), user }.into());
        }
        let present: PathBuf = if record.size_bytes.is_some() { place.image() } else { place.files() };
        let next = self.temporary(name, &present)?;
        let made = || -> Result<(), Error> {
            make_files(name, &next, &next, &record)?;
            let dest = open_files(name, &next, &next, &record)?;
            let files = source.join("data");
            copy_files(name, &open_directory(&files).map_err(step(name, "open", &files))?, &dest, progress)?;
            sync(name, &dest, &next)?;
            drop(dest);
            let directory = File::open(place.directory()).map_err(step(name, "open", place.directory()))?;
            renameat_with(&directory, &present, &directory, &next, RenameFlags::EXCHANGE).map_err(step(
                name,
                "exchange the files in",
                place.directory(),
            ))?;
            Ok(directory.sync_all().map_err(step(name, "sync", place.directory()))?)
        };
        undone_on_error(made(), &next)?;
        Ok(remove_tree(&next)?)
    }
}
