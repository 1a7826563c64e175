//! A container: its record, and what can be done with it.

mod monitor;
mod record;
mod startup;

pub use record::{ContainerRecord, ImageReference, OverlayKind};
pub use startup::startup_specs;
