//! `containers/NAME/life.json`: what became of a container's restart policy. There only for containers that have one, or a script
//! for failures. Read and written under the container's lock.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ContainerName, Paths,
    runtime::ProcessIdentity,
    state::{Durability, StateError, Versioned, read, write},
};

/// What became of a container's restart policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeState {
    /// Whether somebody has asked it to stop since it was started last.
    #[serde(default)]
    pub stopped: bool,
    /// How many times it was started again since somebody started it.
    #[serde(default)]
    pub restarts: u32,
    /// How many times it has failed in a row, each time soon after its start.
    #[serde(default)]
    pub failures: u32,
    /// How it ended last, unasked.
    #[serde(default)]
    pub last_end: Option<LastEnd>,
    /// The restart that is due.
    #[serde(default)]
    pub next: Option<NextRestart>,
    /// Its script for failures has yet to hear of the last end.
    #[serde(default)]
    pub untold: bool,
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEnd {
    /// When.
    pub time: Timestamp,
    /// What is known of it.
    pub why: String,
    /// Of which start: an end is counted once.
    pub start: String,
}

/// A restart that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRestart {
    /// When.
    pub time: Timestamp,
    /// In which boot of the host; another one has rules of its own.
    pub boot: String,
    /// How long it waits, in milliseconds.
    pub pause_ms: u64,
    /// Who waits for that.
    pub waiter: Option<ProcessIdentity>,
}

impl NextRestart {
    /// Whether somebody waits for it.
    pub fn is_awaited(&self) -> bool {
        self.waiter.is_some_and(|waiter| waiter.is_alive())
    }
}

impl Versioned for LifeState {
    const KIND: &'static str = "state of a container's life";
    const MEND: &'static str = "remove it: the container is then as one that was never started again";
    const VERSION: u32 = 1;
}

impl LifeState {
    fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container(name).join("life.json")
    }

    /// The state of a container; none if there is nothing to remember.
    pub fn load(paths: &Paths, name: &ContainerName) -> Result<Option<Self>, StateError> {
        read(&Self::path(paths, name))
    }

    /// Writes it. Only that somebody stopped the container has to survive a power cut.
    pub(super) fn store(&self, paths: &Paths, name: &ContainerName, durability: Durability) -> Result<(), StateError> {
        write(&Self::path(paths, name), self, durability)
    }
}
