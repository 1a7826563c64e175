//! What a container is given beyond its image, when it is made or later.

use serde::{Deserialize, Serialize};

use crate::{life::Life, limits::Limits, secret::SecretGrant};

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
}

impl Settings {
    /// Whether nothing was given.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
