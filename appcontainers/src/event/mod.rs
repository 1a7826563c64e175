//! The journal of events: what happened to containers and their processes, numbered from 1 without holes.
//!
//! Its files, the segments, hold one JSON object a line; whoever has something to tell appends one under the journal's
//! lock. There is no fsync for an event: after a power cut the last ones may be gone. A line without its end is one
//! whose writer was killed: it never happened, and the next writer cuts it off.
//!
//! ```text
//! events/00000000000000000001.jsonl   named by the number of its first event
//! events/00000000000000031042.jsonl   the last: the others are not changed any more
//! ```
//!
//! A full segment is synced and a new one begun; then the oldest go. So the journal stays below 32 MiB, which is some
//! 200,000 events. Numbers go on; who asks for those that are gone is told so.

mod error;
mod journal;
mod reader;
mod segment;
#[cfg(test)]
mod tests;
mod watch;

pub use error::EventError;
pub(crate) use journal::note;
pub use journal::{NewEvent, append};
pub use reader::{Events, Since};
pub(crate) use watch::WatchedFiles;

use appcontainers_wire::{ExitStatus, ProcessId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ContainerName;

/// The longest line, so that a writer finds the last one with one read.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A thing that happened to a container or to a process in it.
///
/// # Examples
///
/// ```
/// use appcontainers::Event;
///
/// let line = r#"{"number":7,"time":"2024-05-06T07:08:09Z","container":"web","kind":"start"}"#;
/// let event: Event = serde_json::from_str(line)?;
/// assert_eq!((event.number, event.container.as_str(), event.kind.as_str()), (7, "web", "start"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1, over all containers, without holes.
    pub number: u64,
    /// When it was written.
    pub time: Timestamp,
    /// To which container.
    pub container: ContainerName,
    /// What: `start`, `die`, `remove`, …; `docs/json.md` has them all. A newer program may write others.
    pub kind: String,
    /// To which process of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The name that the process was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How the process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExitStatus>,
    /// What there is to know besides.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}
