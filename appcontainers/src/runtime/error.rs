//! Why a container could not be started or cleared up.

use std::{io, path::PathBuf, time::Duration};

use super::{lxc_config::BadValue, programs::ProgramMissing};
use crate::{ContainerName, image::Digest, process::ConnectionError, program::ProgramError, state::StateError};

/// Why the runtime could not start or stop a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// No container has this name.
    #[error("there is no container {name}; `appc ls` lists them")]
    NoContainer {
        /// The name.
        name: ContainerName,
    },
    /// Its secrets.
    #[error(transparent)]
    Secret(#[from] Box<crate::secret::SecretError>),
    /// It runs.
    #[error("container {name} is already running")]
    Running {
        /// The container.
        name: ContainerName,
    },
    /// Another command is starting it, or works on its files.
    #[error("container {name} is busy: another command starts it or works on its files; try again when that has ended")]
    Busy {
        /// The container.
        name: ContainerName,
    },
    /// A layer is gone from the store.
    #[error("layer {digest} of container {name} is not in the store; load the image that has it")]
    LayerMissing {
        /// The container.
        name: ContainerName,
        /// The layer.
        digest: Digest,
    },
    /// A layer can't be mounted.
    #[error("cannot mount layer {digest} at {}", target.display())]
    MountLayer {
        /// The layer.
        digest: Digest,
        /// Where.
        target: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A layer can't be shown with the container's ids.
    #[error(
        "cannot map the ids of layer {digest} for container {name}: this kernel has no id-mapped squashfs mounts \
         (`appc doctor` tries it); boot a kernel of 6.12 or newer, or make the container with --privileged"
    )]
    NoIdMappedLayers {
        /// The container.
        name: ContainerName,
        /// The layer.
        digest: Digest,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The overlay can't be mounted.
    #[error("cannot mount the overlay of {name} on {}", target.display())]
    MountOverlay {
        /// The container.
        name: ContainerName,
        /// Where.
        target: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A container's disk.
    #[error("the disk of container {name}")]
    Disk {
        /// The container.
        name: ContainerName,
        /// What is wrong with it.
        #[source]
        source: crate::disk_image::DiskImageError,
    },
    /// A step on the host failed.
    #[error("cannot {action} {}", path.display())]
    Host {
        /// The step.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// systemd did not make the scope that containers run in.
    #[error("systemd made no {unit} for containers: {said}")]
    Scope {
        /// The scope.
        unit: String,
        /// What `systemd-run` said.
        said: String,
    },
    /// liblxc could not start the container.
    #[error("liblxc: {said}")]
    Lxc {
        /// The container.
        name: ContainerName,
        /// What liblxc logged, or what it returned.
        said: String,
    },
    /// The start failed; the monitor says why.
    #[error("cannot start container {name}: {said}")]
    NotStarted {
        /// The container.
        name: ContainerName,
        /// The monitor's words.
        said: String,
    },
    /// The container's monitor has died, and no other one could take its place.
    #[error(
        "cannot take over container {name}, whose monitor has died: {said}; `appc restart {name}` ends it and starts it again"
    )]
    NotAdopted {
        /// The container.
        name: ContainerName,
        /// The new monitor's words.
        said: String,
    },
    /// The container did not end.
    #[error("container {name} did not stop within {} s; `appc rm -f` kills it", waited.as_secs())]
    NotStopped {
        /// The container.
        name: ContainerName,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A value that LXC would misread.
    #[error(transparent)]
    Configuration(#[from] BadValue),
    /// A program of ours is missing.
    #[error(transparent)]
    Program(#[from] ProgramMissing),
    /// A program of the host's is missing.
    #[error(transparent)]
    HostProgram(#[from] ProgramError),
    /// A state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// A lock.
    #[error(transparent)]
    Lock(#[from] crate::state::LockError),
    /// A reservation.
    #[error(transparent)]
    Reservation(#[from] crate::network::ReservationError),
    /// A running container's interface.
    #[error("cannot give the interface of container {name} another address")]
    Interface {
        /// The container.
        name: ContainerName,
        /// Why.
        #[source]
        source: crate::network::InterfaceError,
    },
    /// The container's network rules.
    #[error(transparent)]
    Policy(#[from] crate::network::policy::PolicyError),
    /// A limit that the host can't keep.
    #[error(transparent)]
    Limit(#[from] super::limits::LimitError),
    /// A skeleton.
    #[error(transparent)]
    Skeleton(#[from] crate::skeleton::SkeletonError),
    /// The monitor of the container.
    #[error("container {name}")]
    Monitor {
        /// The container.
        name: ContainerName,
        /// What went wrong.
        #[source]
        source: ConnectionError,
    },
}

/// For `map_err`: a step on the host failed.
pub(crate) fn host_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RuntimeError {
    let path = path.into();
    move |source| RuntimeError::Host { action, path, source }
}
