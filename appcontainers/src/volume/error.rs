//! What can go wrong with volumes.

use std::{io, path::PathBuf};

use crate::{
    ContainerName, SnapshotName, VolumeName, disk_image::DiskImageError, overlay::CopyError, state::StateError,
};

/// Why a volume could not be made, changed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// No volume has this name.
    #[error("there is no volume {name}; `appc volume ls` lists them, `appc volume create {name}` makes it")]
    Unknown {
        /// The name.
        name: VolumeName,
    },
    /// The name is another volume's.
    #[error("there is a volume {name} already")]
    Taken {
        /// The name.
        name: VolumeName,
    },
    /// A container has it.
    #[error("volume {name} is used by container {user}; take it away first: appc volume detach {user} {name}")]
    Used {
        /// The volume.
        name: VolumeName,
        /// A container.
        user: ContainerName,
    },
    /// A container runs with it.
    #[error("container {user} runs with volume {name}; stop it first: appc stop {user}")]
    Running {
        /// The volume.
        name: VolumeName,
        /// A container.
        user: ContainerName,
    },
    /// A volume has no such snapshot.
    #[error("volume {name} has no snapshot {snapshot}; `appc volume inspect {name}` lists them")]
    NoSnapshot {
        /// The volume.
        name: VolumeName,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// The name is another snapshot's.
    #[error("volume {name} has a snapshot {snapshot} already")]
    SnapshotTaken {
        /// The volume.
        name: VolumeName,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// A step on the host failed.
    #[error("volume {name}: cannot {doing} {}", path.display())]
    Step {
        /// The volume.
        name: VolumeName,
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its files can't be copied.
    #[error("cannot copy the files of volume {name}")]
    Copy {
        /// The volume.
        name: VolumeName,
        /// Why.
        #[source]
        source: CopyError,
    },
    /// Its file system can't be made.
    #[error("volume {name}")]
    Image {
        /// The volume.
        name: VolumeName,
        /// Why.
        #[source]
        source: DiskImageError,
    },
    /// A state file.
    #[error(transparent)]
    State(#[from] StateError),
}

/// For `map_err`: a step on the host failed.
pub(super) fn step<E: Into<io::Error>>(
    name: &VolumeName,
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(E) -> VolumeError {
    let (name, path) = (name.clone(), path.into());
    move |source| VolumeError::Step { name, doing, path, source: source.into() }
}
