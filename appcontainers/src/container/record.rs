//! `containers/NAME/container.json`: what a container is, whether it runs or not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ContainerName, Hostname, ImageName, Paths,
    image::{Digest, ImageConfig},
    state::{Durability, StateError, Versioned, read, write},
};

/// How long a container's writable layer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayKind {
    /// Until the container is removed.
    Raw,
    /// Until the container's first stop, which removes the container.
    Tmp,
}

/// An image by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReference {
    /// The name that it had.
    pub name: ImageName,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// A container's configuration. What it holds exclusively stands in its reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// The host name inside.
    pub hostname: Hostname,
    /// Whether its root is the host's root.
    pub privileged: bool,
    /// The operating system under it.
    pub base: ImageReference,
    /// The image that it was made from; the base itself if it was provisioned.
    pub image: ImageReference,
    /// The image's layers, the lowest first.
    pub layers: Vec<Digest>,
    /// Its writable layer.
    pub overlay: OverlayKind,
    /// How its program is run.
    pub config: ImageConfig,
}

impl Versioned for ContainerRecord {
    const KIND: &'static str = "container configuration";
    const VERSION: u32 = 1;
}

impl ContainerRecord {
    /// The record of a container, or `None` if there is no such container.
    pub fn load(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, StateError> {
        read(&paths.container(name).join("container.json"))
    }

    /// Writes the record. An ephemeral container's need not survive a power cut: the container doesn't either.
    pub fn store(&self, paths: &Paths) -> Result<(), StateError> {
        let durability = match self.overlay {
            OverlayKind::Raw => Durability::Durable,
            OverlayKind::Tmp => Durability::Volatile,
        };
        write(&paths.container(&self.name).join("container.json"), self, durability)
    }
}
