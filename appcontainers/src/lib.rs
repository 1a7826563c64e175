//! Builds, runs and monitors app containers: a program with its files, sandboxed in LXC, with an
//! address of its own, saved as one file.

pub mod archive;
pub mod image;
mod name;
pub mod output;
pub mod overlay;
mod paths;
pub mod process;
mod progress;
pub mod state;

pub use name::{ContainerName, Hostname, ImageName, InvalidHostname, InvalidName};
pub use paths::{DEFAULT_ROOT, DEFAULT_RUN, Paths};
pub use progress::{NoProgress, Progress};
