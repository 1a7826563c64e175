//! Running commands in a container: what to run, and the connection to the container's monitor.

mod command;
mod connection;
mod details;
mod error;
mod follower;
mod input;
mod journal;
mod passing;
mod streams;
mod table;
mod terminal;
mod watch;

pub use command::Command;
pub use connection::{Connection, ConnectionError};
pub use details::ProcessDetails;
pub use error::RunError;
pub use follower::Follower;
pub use journal::{ProcessJournal, ProcessJournalError, journal_path, read_processes};
pub use streams::RunStreams;
pub use table::{End, Ended, Entry, InvalidProcessRef, ProcessRecord, ProcessRef, ProcessTable, Role};
pub use terminal::Terminal;
pub use watch::{News, Watch};
