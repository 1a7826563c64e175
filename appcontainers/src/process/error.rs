//! Why the end of a foreground command is not known.

use std::io;

use appcontainers_wire::{SpawnFailure, Stream};

use super::{ConnectionError, ProcessJournalError};
use crate::output::LogError;

/// Why a foreground command's end is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The command was not started.
    #[error("{0}")]
    NotStarted(SpawnFailure),
    /// The container ended before the command's end was known.
    #[error("the container stopped while the command ran")]
    ContainerStopped,
    /// The monitor was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The monitor was lost, and no other one could take its place.
    #[error("{said}")]
    NotAdopted {
        /// Why.
        said: String,
    },
    /// How it ended can't be read.
    #[error(transparent)]
    Journal(#[from] ProcessJournalError),
    /// The output can't be read back.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The command's output can't be written where the caller wants it.
    #[error("cannot pass the command's {stream:?} on")]
    Output {
        /// Which stream.
        stream: Stream,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Standard input can't be read, or waiting failed.
    #[error("cannot read the command's standard input")]
    Input(#[source] io::Error),
}
