//! Snapshots of a container: what was written in it and its configuration, at one moment.
//!
//! A snapshot is a copy of the writable layer, never of the image's. Where the file system can (btrfs, XFS), it shares its blocks
//! with the container. A running container stands still while its layer is copied, and not while that goes to the disk.

mod store;

use std::{fs::File, num::NonZeroUsize, os::fd::AsFd, path::Path};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use self::store::{NewSnapshot, directory};
pub(super) use self::store::{SnapshotRecord, Stored, clear_up, half_done};
pub(crate) use self::store::{directories, layers};
use super::{Container, changes::shift_of};
use crate::{
    Error, ImageName, NoProgress, Progress, SnapshotName,
    error::{chain, io_error},
    event,
    image::pack::IdShift,
    network::{IdRange, ReservationError, Reservations},
    overlay::{self, Contents, Shift},
    progress::Step,
    record::ContainerRecord,
    runtime::overlay_dir,
};

/// How to make a snapshot.
///
/// # Examples
///
/// ```no_run
/// use std::num::NonZeroUsize;
///
/// use appcontainers::{NoProgress, Paths, Service, SnapshotOptions};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// web.snapshot_with(&SnapshotOptions { name: Some("before-upgrade".parse()?), keep: None }, &NoProgress)?;
/// // Every night:
/// web.snapshot_with(&SnapshotOptions { name: None, keep: NonZeroUsize::new(7) }, &NoProgress)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    /// Its name; made of the time (UTC) if absent, as `20260102-030405`.
    pub name: Option<SnapshotName>,
    /// When it is there, the oldest of those that were not given a name are removed, so that so many are left.
    pub keep: Option<NonZeroUsize>,
}

/// A snapshot of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: SnapshotName,
    /// When it was made.
    pub created: Timestamp,
    /// Its name was made up ([`SnapshotOptions::keep`] is about these alone).
    pub automatic: bool,
    /// Files, directories and all else that it has; hard links count once.
    pub files: u64,
    /// What it takes on the disk; less, where it shares blocks with its container.
    pub size_bytes: u64,
    /// The image that the container was made from, which the snapshot has not.
    pub image: ImageName,
}

impl Snapshot {
    fn new(name: SnapshotName, snapshot: SnapshotRecord, container: &ContainerRecord) -> Self {
        let SnapshotRecord { created, automatic, contents, .. } = snapshot;
        let Contents { files, size_bytes, .. } = contents;
        Self { name, created, automatic, files, size_bytes, image: container.image.name.clone() }
    }
}

impl Container {
    /// Keeps what was written in the container, and its configuration, under a name made of the time. A running container
    /// stands still while its files are copied.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.snapshot_with(&SnapshotOptions::default(), &NoProgress)
    }

    /// As [`Container::snapshot`], with more to choose. Snapshots of an ephemeral container go with it, as all of them go when
    /// their container is removed.
    pub fn snapshot_with(&self, options: &SnapshotOptions, progress: &dyn Progress) -> Result<Snapshot, Error> {
        let _lock = self.lock()?;
        let record = self.record()?;
        let created = Timestamp::now();
        let name = match &options.name {
            Some(name) if directory(&self.paths, &self.name, name).exists() => {
                return Err(Error::SnapshotTaken { name: self.name.clone(), snapshot: name.clone() });
            }
            Some(name) => name.clone(),
            None => self.free_name(created)?,
        };
        let new = NewSnapshot::begin(&self.paths, &self.name)?;
        let id_range = self.id_range()?;
        let contents = self.copy_upper(&record, &new.upper(), shift_of(id_range), progress)?;
        let snapshot = SnapshotRecord { created, automatic: options.name.is_none(), id_range, contents };
        new.complete(&name, &snapshot, &record)?;
        event::note(&self.paths, &self.name, "snapshot", &[("snapshot", Value::from(name.as_str()))]);
        if let Some(keep) = options.keep {
            self.drop_oldest(keep, &name, &record)?;
        }
        Ok(Snapshot::new(name, snapshot, &record))
    }

    /// The container's snapshots, the oldest first. One that can't be read is told of as a warning, and left out.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        self.record()?;
        let mut found = Vec::new();
        for name in store::names(&self.paths, &self.name)? {
            match Stored::open(&self.paths, &self.name, &name) {
                Ok(stored) => found.push(Snapshot::new(name, stored.snapshot, &stored.container)),
                // Removed meanwhile.
                Err(Error::NoSnapshot { .. }) => {}
                Err(error) => tracing::warn!(snapshot = %name, error = %chain(&error), "a snapshot can't be read"),
            }
        }
        found.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
        Ok(found)
    }

    /// Removes a snapshot, also one that can't be read.
    pub fn remove_snapshot(&self, name: &SnapshotName) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.drop_snapshot(name, &self.record()?)
    }

    /// Copies the container's writable layer, as it is at this moment, into an empty directory.
    pub(super) fn copy_upper(
        &self,
        record: &ContainerRecord,
        dest: &Path,
        to: IdShift,
        progress: &dyn Progress,
    ) -> Result<Contents, Error> {
        let upper = overlay_dir(&self.paths, &self.name, record.overlay).join("upper");
        let shift = Shift { from: self.id_shift()?, to };
        let _frozen = self.freeze()?;
        self.copy_layer(&upper, dest, shift, progress)
    }

    /// Copies a snapshot of the container's into an empty directory, and makes sure that all of it was there.
    pub(super) fn copy_snapshot(
        &self,
        name: &SnapshotName,
        stored: &Stored,
        dest: &Path,
        to: IdShift,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let shift = Shift { from: shift_of(stored.snapshot.id_range), to };
        let contents = self.copy_layer(&stored.upper, dest, shift, progress)?;
        if contents.digest != stored.snapshot.contents.digest {
            return Err(Error::SnapshotDamaged { name: self.name.clone(), snapshot: name.clone() });
        }
        Ok(())
    }

    fn copy_layer(&self, source: &Path, dest: &Path, shift: Shift, progress: &dyn Progress) -> Result<Contents, Error> {
        let source = File::open(source).map_err(io_error("open", source))?;
        let dest = File::open(dest).map_err(io_error("open", dest))?;
        let step = Step::begin(progress, "copying what changed", None);
        let copied = overlay::copy(source.as_fd(), dest.as_fd(), shift, &step);
        copied.map_err(|source| Error::Copy { name: self.name.clone(), source })
    }

    fn id_range(&self) -> Result<Option<IdRange>, Error> {
        let reservation = Reservations::read(&self.paths)?.get(&self.name);
        let reservation = reservation.ok_or_else(|| ReservationError::Unknown { name: self.name.clone() })?;
        Ok(reservation.id_range)
    }

    fn free_name(&self, created: Timestamp) -> Result<SnapshotName, Error> {
        let time = created.strftime("%Y%m%d-%H%M%S").to_string();
        let is_taken = |name: &SnapshotName| directory(&self.paths, &self.name, name).exists();
        let mut name = SnapshotName::try_from(time.clone())?;
        let mut number = 2;
        while is_taken(&name) {
            name = SnapshotName::try_from(format!("{time}-{number}"))?;
            number += 1;
        }
        Ok(name)
    }

    fn drop_oldest(&self, keep: NonZeroUsize, newest: &SnapshotName, record: &ContainerRecord) -> Result<(), Error> {
        let mut automatic = self.snapshots()?;
        automatic.retain(|snapshot| snapshot.automatic && snapshot.name != *newest);
        // If that was automatic or not: the room is for so many, and it has one of them.
        let surplus = automatic.len().saturating_sub(keep.get() - 1);
        automatic.iter().take(surplus).try_for_each(|snapshot| self.drop_snapshot(&snapshot.name, record))
    }

    fn drop_snapshot(&self, name: &SnapshotName, record: &ContainerRecord) -> Result<(), Error> {
        store::remove(&self.paths, &self.name, name, record.overlay.durability())?;
        event::note(&self.paths, &self.name, "snapshot-remove", &[("snapshot", Value::from(name.as_str()))]);
        Ok(())
    }
}
