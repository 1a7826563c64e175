//! Images: layers and a configuration, in the store or as one file.

mod config;
mod digest;
mod manifest;

pub use config::{ImageConfig, InvalidConfig};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use manifest::{
    ALIGNMENT, BaseReference, Layer, MAX_LAYERS, MAX_MANIFEST_BYTES, Manifest, ManifestError, SCHEMA_VERSION,
};
