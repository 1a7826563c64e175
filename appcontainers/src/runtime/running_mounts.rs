//! `/run/.../NAME/mounts.json`: what is mounted into a running container, by the kernel's number of each mount, so that what is
//! unmounted is what was mounted.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    ContainerName, Paths,
    mounts::{Mount, MountPath, MountSource},
    state::{Durability, StateError, Versioned, read, write},
};

/// What is mounted into a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningMounts {
    pub(crate) mounts: BTreeMap<MountPath, RunningMount>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningMount {
    #[serde(flatten)]
    pub(crate) source: MountSource,
    #[serde(default)]
    pub(crate) read_only: bool,
    /// The kernel's number; none while it is being made.
    pub(crate) id: Option<u64>,
}

impl RunningMount {
    pub(crate) fn into_mount(self, path: MountPath) -> Mount {
        Mount { source: self.source, path, read_only: self.read_only }
    }
}

impl Versioned for RunningMounts {
    const KIND: &'static str = "record of mounts";
    const VERSION: u32 = 1;
}

impl RunningMounts {
    fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container_run(name).join("mounts.json")
    }

    /// Those of a container; none of one that does not run.
    pub(crate) fn load(paths: &Paths, name: &ContainerName) -> Result<Self, StateError> {
        Ok(read(&Self::path(paths, name))?.unwrap_or_default())
    }

    pub(super) fn store(&self, paths: &Paths, name: &ContainerName) -> Result<(), StateError> {
        write(&Self::path(paths, name), self, Durability::Volatile)
    }
}
