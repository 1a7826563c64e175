//! The images that this host has: layers named by their digests, and manifests named by people.
//!
//! The store owns `images/` below the root directory. A layer appears whole or not at all, and a name only after all
//! its layers. It takes no locks: whoever removes layers must keep others from naming images meanwhile.

mod error;
mod flatten;
mod layers;
mod load;
mod names;

pub use error::StoreError;
pub use layers::NewLayer;
pub use load::Loaded;
pub use names::{Kind, Registered};

use crate::Paths;

/// The images below one root directory. Opening it does nothing.
#[derive(Debug, Clone)]
pub struct Store {
    paths: Paths,
}

impl Store {
    /// The store below `paths`' root.
    pub fn new(paths: Paths) -> Self {
        Self { paths }
    }
}
