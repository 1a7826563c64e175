//! What a container is given beyond its image, when it is made or later.

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// What a container is given beyond its image; part of its configuration, so it is kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What it may use of the host.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
}

impl Settings {
    /// Whether nothing was given.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
