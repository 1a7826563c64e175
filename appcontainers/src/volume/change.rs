//! Making, cloning and removing volumes, and their snapshots.
//!
//! Each makes what is new under a temporary name, brings it to the disk, and gives it its name in one step. What a killed command
//! left under such a name, `gc` removes.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    VolumeError, VolumeHold, VolumePlace, VolumeRecord,
    copy::{copy_files, give_name, make_parts, open_volume, sync},
    error::step,
    look::{SnapshotRecord, VolumeSnapshot, running_users, users},
};
use crate::{
    Error, Progress, Service, SnapshotName, VolumeName,
    runtime::remove_tree,
    setup,
    state::{Durability, create_directory, temporary_beside, write},
};

impl Service {
    /// Makes a volume. One with a size can never hold more: that room is taken from the host's disk at once.
    pub fn create_volume(&self, name: &VolumeName, size_bytes: Option<u64>) -> Result<(), Error> {
        setup::ensure(self.paths())?;
        let record = VolumeRecord { created: Timestamp::now(), size_bytes };
        self.make_volume(name, &record, |_| Ok(()))
    }

    /// Makes a volume with the same size and files as another one, which containers may go on using: those that run stand still
    /// while it is copied.
    pub fn clone_volume(&self, name: &VolumeName, new: &VolumeName, progress: &dyn Progress) -> Result<(), Error> {
        let (_hold, place, record) = self.volume_alone(name)?;
        let record = VolumeRecord { created: Timestamp::now(), ..record };
        self.make_volume(new, &record, |to| {
            let (source, dest) = (open_volume(name, &place)?, open_volume(new, to)?);
            let frozen = self.freeze_users(name)?;
            copy_files(name, &source, &dest, progress)?;
            drop(frozen);
            Ok(sync(new, &dest, to.directory())?)
        })
    }

    /// Removes a volume with all its files and snapshots. One that a container's settings name is an error.
    pub fn remove_volume(&self, name: &VolumeName) -> Result<(), Error> {
        let (_hold, place, _) = self.volume_alone(name)?;
        if let Some(user) = users(self, name)?.into_iter().next() {
            return Err(VolumeError::Used { name: name.clone(), user: user.container }.into());
        }
        let gone = self.temporary(name, place.directory())?;
        give_name(name, place.directory(), &gone)?;
        Ok(remove_tree(&gone)?)
    }

    /// Keeps a volume's files as they are now, under a name of the time (UTC) unless one is given. Containers that run with it
    /// stand still while they are copied.
    pub fn snapshot_volume(
        &self,
        name: &VolumeName,
        snapshot: Option<&SnapshotName>,
        progress: &dyn Progress,
    ) -> Result<VolumeSnapshot, Error> {
        let (_hold, place, _) = self.volume_alone(name)?;
        let created = Timestamp::now();
        let snapshot = match snapshot {
            Some(snapshot) => snapshot.clone(),
            None => name_of_time(&place, created)?,
        };
        let taken = || VolumeError::SnapshotTaken { name: name.clone(), snapshot: snapshot.clone() };
        if place.snapshot(&snapshot).exists() {
            return Err(taken().into());
        }
        let temporary = self.temporary(name, &place.snapshot(&snapshot))?;
        let made = self.fill_snapshot(name, &place, &temporary, created, progress).and_then(|made| {
            match give_name(name, &temporary, &place.snapshot(&snapshot))? {
                true => Ok(made),
                false => Err(taken().into()),
            }
        });
        let made = undone_on_error(made, &temporary)?;
        Ok(VolumeSnapshot::new(snapshot, made))
    }

    /// Removes a snapshot of a volume.
    pub fn remove_volume_snapshot(&self, name: &VolumeName, snapshot: &SnapshotName) -> Result<(), Error> {
        let (_hold, place, _) = self.volume_alone(name)?;
        let path = place.snapshot(snapshot);
        if !path.exists() {
            return Err(VolumeError::NoSnapshot { name: name.clone(), snapshot: snapshot.clone() }.into());
        }
        let gone = self.temporary(name, &path)?;
        give_name(name, &path, &gone)?;
        Ok(remove_tree(&gone)?)
    }

    fn fill_snapshot(
        &self,
        name: &VolumeName,
        place: &VolumePlace,
        temporary: &Path,
        created: Timestamp,
        progress: &dyn Progress,
    ) -> Result<SnapshotRecord, Error> {
        let files = temporary.join("data");
        for directory in [temporary, &files] {
            create_directory(directory, 0o700).map_err(step(name, "create", directory))?;
        }
        let (source, dest) =
            (open_volume(name, place)?, super::open_directory(&files).map_err(step(name, "open", &files))?);
        let frozen = self.freeze_users(name)?;
        let contents = copy_files(name, &source, &dest, progress)?;
        drop(frozen);
        let record = SnapshotRecord { created, files: contents.files, size_bytes: contents.size_bytes };
        write(&temporary.join("snapshot.json"), &record, Durability::Durable).map_err(VolumeError::from)?;
        sync(name, &dest, &files)?;
        Ok(record)
    }

    fn make_volume(
        &self,
        name: &VolumeName,
        record: &VolumeRecord,
        fill: impl FnOnce(&VolumePlace) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let place = VolumePlace::of(self.paths(), name);
        let taken = || VolumeError::Taken { name: name.clone() };
        if place.directory().exists() {
            return Err(taken().into());
        }
        let temporary = VolumePlace::at(self.temporary(name, place.directory())?);
        let made = make_parts(name, &temporary, record).map_err(Error::from);
        let made = made.and_then(|()| fill(&temporary)).and_then(|()| {
            match give_name(name, temporary.directory(), place.directory())? {
                true => Ok(()),
                false => Err(taken().into()),
            }
        });
        undone_on_error(made, temporary.directory())
    }

    /// A volume that nobody else uses as long as the first part lives; who has it mounted goes on.
    pub(super) fn volume_alone(&self, name: &VolumeName) -> Result<(VolumeHold, VolumePlace, VolumeRecord), Error> {
        let place = VolumePlace::of(self.paths(), name);
        let unknown = || Error::from(VolumeError::Unknown { name: name.clone() });
        let hold = match VolumeHold::alone(self.paths(), name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(unknown()),
            hold => hold.map_err(step(name, "lock", place.directory()))?,
        };
        let record = place.load().map_err(VolumeError::from)?.ok_or_else(unknown)?;
        Ok((hold, place, record))
    }

    pub(super) fn temporary(&self, name: &VolumeName, path: &Path) -> Result<PathBuf, VolumeError> {
        temporary_beside(path).map_err(step(name, "find a free name beside", path))
    }

    /// Stops the processes of all containers that run with a volume, until what comes back is dropped.
    fn freeze_users(&self, name: &VolumeName) -> Result<Vec<crate::process::Connection>, Error> {
        let mut frozen = Vec::new();
        for user in running_users(self, name)? {
            // One that ends meanwhile writes no more.
            match self.container(&user).and_then(|container| container.freeze()) {
                Ok(connection) => frozen.extend(connection),
                Err(error) if running_users(self, name)?.contains(&user) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(frozen)
    }
}

/// Removes what is not to stay if there is an error, and passes that on.
pub(super) fn undone_on_error<T>(result: Result<T, Error>, temporary: &Path) -> Result<T, Error> {
    if result.is_err()
        && let Err(undo) = remove_tree(temporary)
    {
        tracing::warn!(%undo, "cannot remove what was begun; `appc gc` will");
    }
    result
}

/// A name made of the time that no snapshot has.
fn name_of_time(place: &VolumePlace, created: Timestamp) -> Result<SnapshotName, Error> {
    let time = created.strftime("%Y%m%d-%H%M%S").to_string();
    let names = (1..).map(|number| if number == 1 { time.clone() } else { format!("{time}-{number}") });
    let mut names = names.map(|name| name.parse::<SnapshotName>());
    let free = names.find(|name| name.as_ref().map_or(true, |name| !place.snapshot(name).exists()));
    Ok(free.unwrap_or_else(|| time.parse())?)
}
