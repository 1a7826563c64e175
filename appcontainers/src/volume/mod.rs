//! Volumes: files that belong to no container and outlive all of them.
//!
//! ```text
//! volumes/NAME/volume.json        what it is
//! volumes/NAME/data               its files, as their owners are in containers: their root is 0
//! volumes/NAME/data.ext4          or these, in a file system of the size that was asked for
//! volumes/NAME/snapshots/SNAP/    snapshot.json, and data: a copy
//! volumes/.NAME.PID-N.tmp         one that is being made or removed
//! ```
//! Whoever uses one has its directory locked (flock): shared to mount it, alone to change what it is. Whether a container has it
//! is what the containers' settings say.

mod change;
mod copy;
mod error;
mod look;
mod rollback;

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use appcontainers_sys::tree::DetachedMount;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};

pub use error::VolumeError;
pub use look::{VolumeDetails, VolumeSnapshot, VolumeUse};
pub(crate) use look::{check, names};

use crate::{
    Paths, SnapshotName, VolumeName, disk_image,
    state::{StateError, Versioned, read},
};

/// `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) created: Timestamp,
    /// What it can hold at the most; as much as the host's disk if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size_bytes: Option<u64>,
}

impl Versioned for VolumeRecord {
    const KIND: &'static str = "record of a volume";
    const VERSION: u32 = 1;
}

/// Where the parts of a volume are.
#[derive(Debug, Clone)]
pub(crate) struct VolumePlace {
    directory: PathBuf,
}

impl VolumePlace {
    pub(crate) fn of(paths: &Paths, name: &VolumeName) -> Self {
        Self { directory: paths.volumes().join(name.as_str()) }
    }

    fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn record(&self) -> PathBuf {
        self.directory.join("volume.json")
    }

    fn files(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn image(&self) -> PathBuf {
        self.directory.join("data.ext4")
    }

    fn snapshots(&self) -> PathBuf {
        self.directory.join("snapshots")
    }

    fn snapshot(&self, name: &SnapshotName) -> PathBuf {
        self.snapshots().join(name.as_str())
    }

    fn load(&self) -> Result<Option<VolumeRecord>, StateError> {
        read(&self.record())
    }
}

/// Keeps a volume from being changed by others.
#[derive(Debug)]
pub(crate) struct VolumeHold {
    _directory: File,
}

impl VolumeHold {
    /// For who uses it.
    pub(crate) fn shared(paths: &Paths, name: &VolumeName) -> io::Result<Self> {
        Self::take(paths, name, FlockOperation::LockShared)
    }

    /// For who changes it.
    fn alone(paths: &Paths, name: &VolumeName) -> io::Result<Self> {
        Self::take(paths, name, FlockOperation::LockExclusive)
    }

    fn take(paths: &Paths, name: &VolumeName, operation: FlockOperation) -> io::Result<Self> {
        let place = VolumePlace::of(paths, name);
        loop {
            let directory = File::open(place.directory())?;
            match flock(&directory, operation) {
                Err(rustix::io::Errno::INTR) => continue,
                locked => locked?,
            }
            // It may have been removed meanwhile, and another one be there.
            let (held, there) = (directory.metadata()?, fs::metadata(place.directory())?);
            if (held.dev(), held.ino()) == (there.dev(), there.ino()) {
                return Ok(Self { _directory: directory });
            }
        }
    }
}

/// Opens the root of a volume's files; of a sized one, its mount comes with it.
pub(crate) fn open_data(paths: &Paths, name: &VolumeName) -> io::Result<(OwnedFd, Option<DetachedMount>)> {
    open_at(&VolumePlace::of(paths, name))
}

fn open_at(place: &VolumePlace) -> io::Result<(OwnedFd, Option<DetachedMount>)> {
    let record = place.load().map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    if record.size_bytes.is_some() {
        let mount = disk_image::mount(&place.image())?;
        return Ok((mount.as_fd().try_clone_to_owned()?, Some(mount)));
    }
    Ok((open_directory(&place.files())?, None))
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
