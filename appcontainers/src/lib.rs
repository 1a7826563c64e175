//! Builds, runs and monitors app containers: a program with its files, sandboxed in LXC, with an
//! address of its own, saved as one file.

pub mod archive;
pub mod container;
pub mod doctor;
mod error;
pub mod event;
pub mod image;
mod name;
pub mod network;
pub mod output;
mod paths;
pub mod process;
pub mod program;
mod progress;
pub mod runtime;
mod service;
pub mod session;
pub mod setup;
pub mod skeleton;
pub mod state;

pub use container::{Container, ContainerDetails, OverlayKind};
pub use error::Error;
pub use name::{ContainerName, Hostname, ImageName, InvalidHostname, InvalidName};
pub use paths::{DEFAULT_ROOT, DEFAULT_RUN, Paths};
pub use process::Command;
pub use progress::{NoProgress, Progress};
pub use runtime::prewarm;
pub use service::{DEFAULT_BASE, ImageSource, ImageSummary, LoadOptions, ProvisionOptions, Service, setup_service};
