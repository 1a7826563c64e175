//! Running commands in a container: what to run, and the connection to the container's monitor.

mod command;
mod connection;
mod passing;
mod run;

pub use command::Command;
pub use connection::{Connection, ConnectionError};
pub use run::{RunError, RunStreams, follow};
