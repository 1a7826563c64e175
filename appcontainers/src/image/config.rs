//! What an image says about running its program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the program in an image or a container is meant to run. It grants nothing: rights are given on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// Environment of every command.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where commands start; the user's home directory if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Who runs commands: `USER[:GROUP]` or `UID[:GID]`; root if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Commands that `start` runs, each given to `/bin/sh -c`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub startup_commands: Vec<String>,
    /// Free text for people and programs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Services that the program offers: name and port, as `80` or `53/udp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provides: BTreeMap<String, String>,
    /// Services that the program needs, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumes: Vec<String>,
}
