//! What a container is given beyond its image, when it is made or later.

use serde::{Deserialize, Serialize};

use crate::{life::Life, limits::Limits, mounts::Mount, secret::SecretGrant};

/// What a container is given beyond its image; part of its configuration, so it is kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What it may use of the host.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// What keeps it alive, and what it does at the turns of its life.
    #[serde(default, skip_serializing_if = "Life::is_default")]
    pub life: Life,
    /// The secrets that it is given, in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// What is mounted into it: volumes, and files and directories of the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// How many bytes it can write beside its image, without volumes; as many as the host's disk has if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

impl Settings {
    /// Whether nothing was given.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
