//! `containers/NAME/container.json`: what a container is, whether it runs or not.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ContainerName, Hostname, Paths,
    image::{BaseReference, Digest, ImageConfig},
    network::NetworkMode,
    settings::Settings,
    skeleton::Phase,
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

/// What process 1 of a container is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The agent.
    #[default]
    App,
    /// The image's own `/sbin/init`, with the agent beside it. It may do what an operating system's services need: mount, make
    /// namespaces, and all that its user namespace holds back from the host. Said on the host alone, never by an image.
    System,
}

impl Init {
    /// Whether it is the agent.
    pub fn is_app(&self) -> bool {
        *self == Init::App
    }
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
    pub base: BaseReference,
    /// The image that it was made from; the base itself if it was provisioned.
    pub image: BaseReference,
    /// The image's layers, the lowest first.
    pub layers: Vec<Digest>,
    /// Its writable layer.
    pub overlay: OverlayKind,
    /// How it was made, and so which files of the skeleton its writable layer began with; see [`ContainerRecord::phase`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// An ephemeral container's boot of the host: it is gone in the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Whether an ephemeral container outlives its next stop: a restart is under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survives_stop: bool,
    /// Whether the command that makes it has not come to its end: for all others it is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// Whether it is started when the host boots.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub autostart: bool,
    /// Whether a build works in it, and nobody else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_build: bool,
    /// The app file whose container it is (`appc up`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_file: Option<PathBuf>,
    /// Its process 1.
    #[serde(default, skip_serializing_if = "Init::is_app")]
    pub init: Init,
    /// How it is connected to the host.
    #[serde(default, skip_serializing_if = "NetworkMode::is_routed")]
    pub network: NetworkMode,
    /// What it was given beyond its image.
    #[serde(default, skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
    /// How its program is run.
    pub config: ImageConfig,
}

impl Versioned for ContainerRecord {
    const KIND: &'static str = "container configuration";
    const MEND: &'static str = "restore it from a backup, or remove the container: appc rm -f NAME";
    const VERSION: u32 = 1;
}

impl ContainerRecord {
    /// The record of a container, or `None` if there is no such container.
    pub fn load(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, StateError> {
        read(&Self::path(paths, name))
    }

    /// How it was made. Of a container whose record does not say so, its image does.
    pub fn phase(&self) -> Phase {
        let by_image = if self.image == self.base { Phase::Provision } else { Phase::Load };
        self.phase.unwrap_or(by_image)
    }

    /// Where the record of a container is.
    pub(crate) fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container(name).join("container.json")
    }

    /// Writes the record to its container's directory.
    pub fn store(&self, paths: &Paths) -> Result<(), StateError> {
        self.store_in(paths, &self.name)
    }

    /// Writes the record to the directory of `directory_of`, which differs from the record's name while the container
    /// is being renamed.
    pub(crate) fn store_in(&self, paths: &Paths, directory_of: &ContainerName) -> Result<(), StateError> {
        write(&Self::path(paths, directory_of), self, self.overlay.durability())
    }
}

#[cfg(test)]
impl ContainerRecord {
    /// The record of a kept container that nothing was asked of.
    pub(crate) fn example(name: &ContainerName) -> Self {
        let image = BaseReference { name: "busybox".parse().unwrap(), digest: Digest::of(b"") };
        Self {
            name: name.clone(),
            created: Timestamp::UNIX_EPOCH,
            hostname: Hostname::of(name),
            privileged: false,
            base: image.clone(),
            image,
            layers: Vec::new(),
            overlay: OverlayKind::Raw,
            phase: None,
            boot: None,
            survives_stop: false,
            unfinished: false,
            autostart: false,
            for_build: false,
            app_file: None,
            init: Init::App,
            network: NetworkMode::default(),
            settings: Settings::default(),
            config: ImageConfig::default(),
        }
    }
}

impl OverlayKind {
    /// Whether the container survives a power cut; an ephemeral one need not.
    pub(crate) fn durability(self) -> Durability {
        match self {
            OverlayKind::Raw => Durability::Durable,
            OverlayKind::Tmp => Durability::Volatile,
        }
    }
}
