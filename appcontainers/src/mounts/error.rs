//! Why something could not be mounted into a container, or taken out of it.

use std::{io, path::PathBuf};

use super::{MAX_MOUNTS, MountPath, MountSource};
use crate::{ContainerName, state::StateError};

/// Why something could not be mounted into a container, or taken out of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The source is gone, or can't be opened.
    #[error(
        "cannot open {source_shown}, which is to be at {path} in container {name}; bring it back, or take the mount away: \
         appc unmount {name} {path}"
    )]
    Source {
        /// The container.
        name: ContainerName,
        /// What is mounted.
        source_shown: MountSource,
        /// Where.
        path: MountPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A path of the host's that is not there, or is no file and no directory.
    #[error("cannot mount {} into a container", path.display())]
    NoSource {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A path of the host's that can't be kept as text.
    #[error("cannot mount {path:?} into a container: its path holds a control character or is no UTF-8")]
    BadSource {
        /// The path.
        path: PathBuf,
    },
    /// The file system has no id-mapped mounts.
    #[error(
        "cannot show {source_shown} with the ids of container {name}: its file system ({file_system}) has no id-mapped \
         mounts on this kernel; move it to ext4, xfs or btrfs, or make the container with --privileged"
    )]
    NotMapped {
        /// The container.
        name: ContainerName,
        /// What is mounted.
        source_shown: MountSource,
        /// The file system's kind, as the kernel calls it or by its number.
        file_system: String,
    },
    /// A symbolic link on the way to the mount point.
    #[error("cannot mount at {path} in container {name}: {at} is a symbolic link there; name the place it leads to")]
    Symlink {
        /// The container.
        name: ContainerName,
        /// Where.
        path: MountPath,
        /// The link.
        at: String,
    },
    /// What is at the mount point is of another kind than what is mounted.
    #[error(
        "cannot mount {what} at {path} in container {name}: {at} is no directory there, or one where a file is needed"
    )]
    OtherKind {
        /// The container.
        name: ContainerName,
        /// What is mounted.
        what: MountSource,
        /// Where.
        path: MountPath,
        /// What is of the other kind.
        at: String,
    },
    /// A step failed.
    #[error("cannot mount at {path} in container {name}: {step}")]
    Attach {
        /// The container.
        name: ContainerName,
        /// Where.
        path: MountPath,
        /// What was being done.
        step: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It can't be unmounted.
    #[error("cannot unmount {path} in container {name}")]
    Detach {
        /// The container.
        name: ContainerName,
        /// Where.
        path: MountPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something else is mounted over it.
    #[error(
        "cannot unmount {path} in container {name}: the container has moved it or mounted something over it; \
         stop the container first: appc stop {name}"
    )]
    Covered {
        /// The container.
        name: ContainerName,
        /// Where.
        path: MountPath,
    },
    /// Two things at one place, or one that would hide another.
    #[error(
        "container {name} has a mount at {other}, which is in the way of one at {path}; appc unmount {name} {other}"
    )]
    Taken {
        /// The container.
        name: ContainerName,
        /// Where.
        path: MountPath,
        /// What is there, or below.
        other: MountPath,
    },
    /// Nothing is mounted there.
    #[error("container {name} has no mount at {path}; `appc inspect {name}` lists them")]
    NotMounted {
        /// The container.
        name: ContainerName,
        /// Where.
        path: MountPath,
    },
    /// More mounts than a container may have.
    #[error("a container may have {MAX_MOUNTS} mounts at the most")]
    TooMany,
    /// A container that has just ended.
    #[error("container {name} has just ended")]
    Ended {
        /// The container.
        name: ContainerName,
    },
    /// The record of what is mounted.
    #[error(transparent)]
    State(#[from] StateError),
}
