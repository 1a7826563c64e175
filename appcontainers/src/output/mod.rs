//! The log of a container's output: one sequence of records, in segment files, with byte positions.
//!
//! The monitor is its only writer; any number of readers follow it with cursors of their own. A
//! position counts bytes from the log's first record on and never goes back, also when the oldest
//! segments are dropped. A record is whole or, after a crash, absent.
//!
//! ```text
//! log/0000000000000000.seg   named by the position of its first record, in hexadecimal
//! log/0000000001000040.seg
//! log/7.held                 what process 7's reader has not read of segments that were dropped
//!
//! record: 0  u32  magic "aplg"          all integers little-endian
//!         4  u32  process; 0 is the log itself
//!         8  u32  payload's length
//!        12  u8   stream: 1 stdout, 2 stderr, and three zero bytes
//!        16  u64  bytes of this process's stream before the payload
//!        24  u64  time, nanoseconds since 1970 UTC
//!        32       payload
//! ```
//! A segment begins with a record of the log itself: how far each stream had come by then. So whoever goes on with a
//! log reads its last segment only.
//!
//! Two kinds of readers: a foreground command's ([`ForegroundReader`]) gets every byte of its process, whatever else the log
//! drops; a watcher's ([`LogReader`]) holds up nothing, and may find that the oldest is gone.

mod foreground;
mod freeing;
pub(crate) mod gone;
mod held;
mod offsets;
mod piece;
mod reader;
mod record;
mod writer;

pub use foreground::ForegroundReader;
pub use offsets::StreamOffsets;
pub use piece::{Piece, PieceQuery};
pub use reader::LogReader;
pub use record::{Record, RecordHeader};
pub use writer::{LogWriter, NeededBy};

use std::{
    io,
    path::{Path, PathBuf},
};

use appcontainers_wire::ProcessId;

/// A segment is closed when it has grown to this size.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// The log keeps about this much; the oldest segments go first.
pub const DEFAULT_LOG_BYTES: u64 = 256 * 1024 * 1024;

/// Whose the records are that the log writes about itself.
pub(crate) const LOG_ITSELF: ProcessId = ProcessId(0);

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system said no.
    #[error("cannot {action} the log {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The log's directory or a segment in it.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The records from here on were dropped, or something that is no log stands there.
    #[error("the log {} has no record at position {position}", path.display())]
    NoRecord {
        /// The log's directory.
        path: PathBuf,
        /// Where a record should be.
        position: u64,
    },
}

impl LogError {
    /// Whether there is no room for what was to be written: it may go later.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, LogError::Io { source, .. } if full.contains(&source.kind()))
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io { action, path: path.to_owned(), source }
}

/// No log is longer: sums of a position and a file's length don't overflow.
const MOST_BYTES: u64 = i64::MAX as u64;

fn segment_name(position: u64) -> String {
    format!("{position:016x}.seg")
}

/// First positions of the segments in `directory`, in order.
fn segments(directory: &Path) -> Result<Vec<u64>, LogError> {
    let entries = std::fs::read_dir(directory).map_err(io_error("list", directory))?;
    let mut positions = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_error("list", directory))?.file_name();
        let position = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        let position = position.and_then(|hex| u64::from_str_radix(hex, 16).ok());
        positions.extend(position.filter(|position| *position <= MOST_BYTES));
    }
    positions.sort_unstable();
    Ok(positions)
}
