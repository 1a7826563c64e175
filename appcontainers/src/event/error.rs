//! Why the journal could not be written or read.

use std::{io, path::PathBuf};

use super::MAX_LINE_BYTES;
use crate::{ContainerName, state::LockError};

/// Why an event could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The journal's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// One of the journal's files, or their directory.
    #[error("cannot {action} the event journal {}", path.display())]
    Journal {
        /// What was being done.
        action: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Nothing to follow.
    #[error("there is no event journal {}: this host is not set up; run: appc setup", path.display())]
    NoJournal {
        /// Its directory.
        path: PathBuf,
    },
    /// The event is longer than a line may be.
    #[error("an event of {container} has {bytes} bytes, more than {MAX_LINE_BYTES}")]
    TooLong {
        /// Whose.
        container: ContainerName,
        /// How long it would be.
        bytes: usize,
    },
    /// A line that is no event, or not the next one.
    #[error("the event journal {} is damaged at byte {offset}; move it away to go on without its events", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
    },
    /// The journal keeps the newest events only.
    #[error("event {number} is gone: the journal begins with event {first}; ask for what came after {}", first - 1)]
    Gone {
        /// The event that was to be read next.
        number: u64,
        /// The first that is there.
        first: u64,
    },
    /// A number that no event has yet.
    #[error("there is no event {number}: the last one is {last}, and later ones may have been lost with the power")]
    NotYet {
        /// The number.
        number: u64,
        /// The last one that is there; 0 in an empty journal.
        last: u64,
    },
}
