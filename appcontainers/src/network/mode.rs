//! How a container's interface is connected to the host.

use serde::{Deserialize, Serialize};

/// How a container's interface is connected to the host. The rules are the same for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// By a pair of its own: the host has a route to the container through the pair's other end. There is no bridge and no limit.
    #[default]
    Routed,
    /// As a port of the installation's bridge, which has 1023 at most. All packets go through the host, never from port to
    /// port; what else is at the bridge sees this container there.
    Bridge,
}

impl NetworkMode {
    /// Whether it is the default.
    pub fn is_routed(&self) -> bool {
        *self == NetworkMode::Routed
    }

    /// Its name as it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            NetworkMode::Routed => "routed",
            NetworkMode::Bridge => "bridge",
        }
    }
}
