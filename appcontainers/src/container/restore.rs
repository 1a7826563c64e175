//! Going back to a snapshot: the container's writable layer and its configuration become what they were.
//!
//! ```text
//! copy the snapshot beside the writable layer -> restore.json -> the two layers change places -> restore.json becomes container.json
//! ```
//! Until `restore.json` is there, nothing has happened; from then on, the next command that locks the container completes it. It names
//! the new layer by its inode, so that a change of places that was made is not made again.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Container, changes::shift_of, snapshot::Stored};
use crate::{
    ContainerName, Error, Hostname, Paths, Progress, SnapshotName,
    error::io_error,
    event,
    network::{ReservationError, Reservations},
    record::ContainerRecord,
    runtime::{self, Status},
    settings::Settings,
    state::{ContainerLock, Durability, Versioned, read, write},
};

/// What the container becomes. In the place of its record, it is one.
#[derive(Debug, Serialize, Deserialize)]
struct Restoration {
    /// The inode of the layer that is to be the container's.
    restored_layer: u64,
    restored_snapshot: SnapshotName,
    #[serde(flatten)]
    container: ContainerRecord,
}

impl Versioned for Restoration {
    const KIND: &'static str = ContainerRecord::KIND;
    const MEND: &'static str =
        "remove it: the container is then as it was before it was restored, or has its files alone restored";
    const VERSION: u32 = ContainerRecord::VERSION;
}

impl Container {
    /// Makes the container what it was when the snapshot was made: what was written in it, how its program is run, and what it was
    /// given beyond its image. Its name, address, MAC, ids, network rules, secrets and log stay, and so do its snapshots.
    ///
    /// A running container is stopped first, with `timeout` between TERM and KILL, and started afterwards. If anything fails, it
    /// has its old files, and runs if it did.
    pub fn restore(&self, snapshot: &SnapshotName, timeout: Duration, progress: &dyn Progress) -> Result<(), Error> {
        // What can't be restored stops no container.
        Stored::open(&self.paths, &self.name, snapshot)?;
        let mut was_running = false;
        let lock = loop {
            if self.status()? == Status::Running {
                was_running = true;
                self.stop_to_start(timeout)?;
            }
            let lock = self.lock()?;
            // Another command may have started it meanwhile.
            if self.status()?.can_start() {
                break lock;
            }
        };
        let restored = self.put_back(&lock, snapshot, progress);
        drop(lock);
        match (restored, was_running) {
            (restored, false) => restored,
            (Ok(()), true) => self.start_unless_running(),
            (Err(error), true) => {
                if let Err(undo) = self.start_unless_running() {
                    tracing::warn!(name = %self.name, %undo, "cannot start the container again with its old files");
                }
                Err(error)
            }
        }
    }

    fn put_back(&self, lock: &ContainerLock, name: &SnapshotName, progress: &dyn Progress) -> Result<(), Error> {
        let stored = Stored::open(&self.paths, &self.name, name)?;
        let record = self.record()?;
        let reservation = Reservations::read(&self.paths)?.get(&self.name);
        let reservation = reservation.ok_or_else(|| ReservationError::Unknown { name: self.name.clone() })?;
        runtime::begin_renewal(&self.paths, &record, reservation.id_range)?;
        let layer = runtime::next_layer(&self.paths, &record);
        let prepared =
            self.copy_snapshot(name, &stored, &layer, shift_of(reservation.id_range), progress).and_then(|()| {
                let restored_layer = fs::metadata(&layer).map_err(io_error("read", &layer))?.ino();
                let durability = record.overlay.durability();
                let container = as_it_was(record.clone(), stored.container);
                let restoration = Restoration { restored_layer, restored_snapshot: name.clone(), container };
                self.begin_restoration(&restoration, durability)
            });
        if let Err(error) = prepared {
            // Written or not, it was not heard of.
            let undone = [path(&self.paths, &self.name), new_path(&self.paths, &self.name)]
                .iter()
                .try_for_each(|path| runtime::remove_tree(path))
                .and_then(|()| runtime::abandon_renewal(&self.paths, &self.name));
            if let Err(undo) = undone {
                tracing::warn!(name = %self.name, %undo, "cannot remove a layer that was not made; the next command will");
            }
            return Err(error);
        }
        complete(&self.paths, lock)?;
        Ok(runtime::abandon_renewal(&self.paths, &self.name)?)
    }
}

impl Container {
    /// Says that the restoration is to be completed, when all that it needs is on the disk.
    fn begin_restoration(&self, restoration: &Restoration, durability: Durability) -> Result<(), Error> {
        let directory = self.paths.container(&self.name);
        let (from, to) = (new_path(&self.paths, &self.name), path(&self.paths, &self.name));
        write(&from, restoration, Durability::Volatile)?;
        let is_kept = durability == Durability::Durable;
        // The layer's whole file system is synced, which mostly is that of this file.
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(io_error("read", path));
        if is_kept && device(&from)? != device(&runtime::next_layer(&self.paths, &restoration.container))? {
            File::open(&from).and_then(|file| file.sync_all()).map_err(io_error("sync", &from))?;
        }
        runtime::sync_renewal(&self.paths, &restoration.container)?;
        fs::rename(&from, &to).map_err(io_error("rename", &from))?;
        if is_kept {
            File::open(&directory).and_then(|directory| directory.sync_all()).map_err(io_error("sync", directory))?;
        }
        Ok(())
    }
}

/// The record of a container that becomes what it was: what it is by itself stays.
fn as_it_was(now: ContainerRecord, then: ContainerRecord) -> ContainerRecord {
    let had_own_hostname = then.hostname != Hostname::of(&then.name);
    let hostname = if had_own_hostname { then.hostname } else { Hostname::of(&now.name) };
    ContainerRecord {
        hostname,
        // What was written in it lay on these; `appc up` may have given it another image since.
        base: then.base,
        image: then.image,
        layers: then.layers,
        phase: then.phase,
        autostart: then.autostart,
        init: then.init,
        // Its disk is what it is: only the files in it go back. And whoever took a secret away from it did not mean until then.
        settings: Settings { disk: now.settings.disk, secrets: now.settings.secrets, ..then.settings },
        config: then.config,
        ..now
    }
}

/// Completes a restoration that a command began and did not end.
pub(super) fn complete(paths: &Paths, lock: &ContainerLock) -> Result<(), Error> {
    let name = lock.name();
    let from = path(paths, name);
    let Some(restoration) = read::<Restoration>(&from)? else {
        return Ok(runtime::remove_tree(&new_path(paths, name))?);
    };
    let record = restoration.container;
    if !runtime::put_in_place(paths, &record, restoration.restored_layer)? {
        tracing::warn!(%name, "the layer of a restoration is gone: the container stays as it is");
        return Ok(runtime::remove_tree(&from)?);
    }
    // Not synced: where a power cut undoes this, it is done again, until the record's next change, which is synced with it.
    fs::rename(&from, ContainerRecord::path(paths, name)).map_err(io_error("rename", &from))?;
    event::note(paths, name, "restore", &[("snapshot", Value::from(restoration.restored_snapshot.as_str()))]);
    Ok(())
}

/// Where it is said that a restoration is to be completed.
pub(super) fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
    paths.container(name).join("restore.json")
}

/// The same, before it counts.
fn new_path(paths: &Paths, name: &ContainerName) -> PathBuf {
    path(paths, name).with_extension("new")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_is_by_itself_stays_when_its_configuration_goes_back() {
        let [old, new]: [ContainerName; 2] = ["old", "new"].map(|name| name.parse().unwrap());
        let then = ContainerRecord { autostart: true, ..ContainerRecord::example(&old) };
        let now =
            ContainerRecord { created: "2026-01-02T03:04:05Z".parse().unwrap(), ..ContainerRecord::example(&new) };
        let restored = as_it_was(now.clone(), then.clone());
        assert_eq!((&restored.name, restored.created, restored.autostart), (&new, now.created, true));
        assert_eq!(restored.hostname, Hostname::of(&new), "it was renamed since");
        let then = ContainerRecord { hostname: "front".parse().unwrap(), ..then };
        assert_eq!(as_it_was(now, then).hostname.as_str(), "front");
    }

    #[test]
    fn a_restoration_reads_as_the_record_that_it_becomes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("container.json");
        let container = ContainerRecord::example(&"web".parse().unwrap());
        let restoration =
            Restoration { restored_layer: 7, restored_snapshot: "a".parse().unwrap(), container: container.clone() };
        write(&path, &restoration, Durability::Volatile).unwrap();
        assert_eq!(read::<ContainerRecord>(&path).unwrap().unwrap(), container);
        assert_eq!(read::<Restoration>(&path).unwrap().unwrap().container, container);
    }
}
