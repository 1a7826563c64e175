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
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{
///     Paths,
///     image::{Kind, Store},
/// };
///
/// let store = Store::new(Paths::from_env()?);
/// for name in store.names(Kind::Image)? {
///     println!("{name}: {} bytes", store.manifest(Kind::Image, &name)?.size_bytes());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
