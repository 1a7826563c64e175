//! What a container is given beyond its image, when it is made or later.

use serde::{Deserialize, Serialize};

use crate::secret::SecretGrant;

/// What a container is given beyond its image; part of its configuration, so it is kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
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
