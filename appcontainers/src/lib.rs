//! Builds, runs and monitors app containers: a program with its files, sandboxed in LXC, with an
//! address of its own, saved as one file.

pub mod event;
pub mod image;
mod name;
pub mod network;
mod paths;
pub mod program;
pub mod session;
pub mod setup;
pub mod skeleton;
pub mod state;

pub use name::{ContainerName, Hostname, ImageName, InvalidHostname, InvalidName};
pub use paths::{DEFAULT_ROOT, DEFAULT_RUN, Paths};
