//! What volumes there are, what is in them, and who has them.

use std::{collections::BTreeMap, fs, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{VolumeError, VolumePlace, copy::open_volume, error::step};
use crate::{
    ContainerName, Error, Paths, Service, SnapshotName, VolumeName, disk,
    mounts::MountPath,
    runtime::{self, RunningMounts, Status},
    state::{StateError, Versioned, read},
};

/// `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    pub(super) created: Timestamp,
    pub(super) files: u64,
    pub(super) size_bytes: u64,
}

impl Versioned for SnapshotRecord {
    const KIND: &'static str = "record of a volume's snapshot";
    const VERSION: u32 = 1;
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeDetails {
    /// Its name.
    pub name: VolumeName,
    /// When it was made.
    pub created: Timestamp,
    /// What it can hold at the most; as much as the host's disk has if absent.
    pub size_bytes: Option<u64>,
    /// What its files take, without its snapshots.
    pub used_bytes: u64,
    /// Its snapshots, the oldest first.
    pub snapshots: Vec<VolumeSnapshot>,
    /// The containers that have it.
    pub used_by: Vec<VolumeUse>,
}

/// A snapshot of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// When it was made.
    pub created: Timestamp,
    /// Files, directories and all else that it has; hard links count once.
    pub files: u64,
    /// What it takes on the disk; less, where it shares blocks with the volume.
    pub size_bytes: u64,
}

impl VolumeSnapshot {
    pub(super) fn new(name: SnapshotName, record: SnapshotRecord) -> Self {
        let SnapshotRecord { created, files, size_bytes } = record;
        Self { name, created, files, size_bytes }
    }
}

/// A container that has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeUse {
    /// The container.
    pub container: ContainerName,
    /// Where the volume is in it.
    pub path: MountPath,
    /// Whether it can only read it.
    pub read_only: bool,
}

impl Service {
    /// All volumes, by name. One whose record can't be read is told of as a warning, and left out.
    pub fn volumes(&self) -> Result<Vec<VolumeDetails>, Error> {
        let mut users = all_users(self)?;
        let mut found = Vec::new();
        for name in names(self.paths())? {
            match details(self, &name, users.remove(&name).unwrap_or_default()) {
                Ok(details) => found.push(details),
                Err(VolumeError::Unknown { .. }) => {}
                Err(error) => tracing::warn!("{}", crate::error::chain(&error)),
            }
        }
        Ok(found)
    }

    /// A volume by name.
    pub fn volume(&self, name: &VolumeName) -> Result<VolumeDetails, Error> {
        Ok(details(self, name, users(self, name)?)?)
    }
}

/// The names of all volumes, sorted.
pub(crate) fn names(paths: &Paths) -> Result<Vec<VolumeName>, Error> {
    let directory = paths.volumes();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(crate::error::io_error("list", &directory))?,
    };
    let mut names: Vec<VolumeName> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    Ok(names)
}

fn details(service: &Service, name: &VolumeName, used_by: Vec<VolumeUse>) -> Result<VolumeDetails, VolumeError> {
    let place = VolumePlace::of(service.paths(), name);
    let record = place.load()?.ok_or_else(|| VolumeError::Unknown { name: name.clone() })?;
    let used_bytes = match record.size_bytes {
        Some(_) => {
            let root = open_volume(name, &place)?;
            let status = rustix::fs::fstatvfs(&root).map_err(step(name, "look at", place.directory()))?;
            (status.f_blocks - status.f_bfree) * status.f_frsize
        }
        None => disk::usage(&place.files()),
    };
    let snapshots = snapshots(name, &place)?;
    Ok(VolumeDetails {
        name: name.clone(),
        created: record.created,
        size_bytes: record.size_bytes,
        used_bytes,
        snapshots,
        used_by,
    })
}

fn snapshots(name: &VolumeName, place: &VolumePlace) -> Result<Vec<VolumeSnapshot>, VolumeError> {
    let directory = place.snapshots();
    let entries = fs::read_dir(&directory).map_err(step(name, "list", &directory))?.flatten();
    let mut found = Vec::new();
    for snapshot in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<SnapshotName>().ok()) {
        if let Some(record) = read::<SnapshotRecord>(&place.snapshot(&snapshot).join("snapshot.json"))? {
            found.push(VolumeSnapshot::new(snapshot, record));
        }
    }
    found.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
    Ok(found)
}

/// Which containers have which volumes: as their settings say, and of those that run, as they were started or changed.
fn all_users(service: &Service) -> Result<BTreeMap<VolumeName, Vec<VolumeUse>>, Error> {
    let mut users: BTreeMap<VolumeName, Vec<VolumeUse>> = BTreeMap::new();
    for record in service.records()? {
        let running = RunningMounts::load(service.paths(), &record.name)?;
        let running = running.mounts.into_iter().map(|(path, one)| one.into_mount(path));
        for mount in record.settings.mounts.into_iter().chain(running) {
            let Some(volume) = mount.volume_name() else { continue };
            let used = users.entry(volume.clone()).or_default();
            if !used.iter().any(|one| one.container == record.name && one.path == mount.path) {
                let (container, read_only) = (record.name.clone(), mount.read_only);
                used.push(VolumeUse { container, path: mount.path, read_only });
            }
        }
    }
    Ok(users)
}

/// Which containers have a volume.
pub(super) fn users(service: &Service, name: &VolumeName) -> Result<Vec<VolumeUse>, Error> {
    Ok(all_users(service)?.remove(name).unwrap_or_default())
}

/// Those that run with it, or are about to.
pub(super) fn running_users(service: &Service, name: &VolumeName) -> Result<Vec<ContainerName>, Error> {
    let mut running = Vec::new();
    for user in users(service, name)? {
        let status = runtime::status(service.paths(), &user.container)?;
        if matches!(status, Status::Running | Status::Busy) && !running.contains(&user.container) {
            running.push(user.container);
        }
    }
    Ok(running)
}

/// An error unless there is such a volume.
pub(crate) fn check(paths: &Paths, name: &VolumeName) -> Result<(), VolumeError> {
    let there: Result<Option<_>, StateError> = VolumePlace::of(paths, name).load();
    there?.map(drop).ok_or_else(|| VolumeError::Unknown { name: name.clone() })
}
