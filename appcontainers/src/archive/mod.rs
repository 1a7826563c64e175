//! Tar archives: opened whatever their compression, checked as a whole, and read member by member.
//!
//! The reader is our own because what comes from outside decides nothing here: extension headers are limited in
//! size, PAX values may hold newlines (file capabilities do), sparse members stay sparse, and every error names
//! the member.

mod compression;
mod error;
mod header;
mod pax;
mod reader;
mod sparse;
mod verify;

pub use compression::{PlainTar, open};
pub use error::ArchiveError;
pub(crate) use reader::{Member, MemberKind, TarReader};
pub use verify::{ArchiveSummary, verify};
