//! A container: its record, and what can be done with it.

mod record;

pub use record::{ContainerRecord, ImageReference, OverlayKind};
