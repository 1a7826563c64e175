//! What a container is given beyond its image, when it is made or later.

use serde::{Deserialize, Serialize};

use crate::life::Life;

/// What a container is given beyond its image; part of its configuration, so it is kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What keeps it alive, and what it does at the turns of its life.
    #[serde(default, skip_serializing_if = "Life::is_default")]
    pub life: Life,
}

impl Settings {
    /// Whether nothing was given.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
