//! Images: layers and a configuration, in the store or as one file.

pub mod aimg;
pub mod base;
mod config;
mod digest;
mod manifest;
mod new_file;
pub mod pack;
mod store;
mod summary;
mod superblock;

pub use aimg::{Aimg, AimgError};
pub use config::{ImageConfig, InvalidConfig};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use manifest::{
    ALIGNMENT, BaseReference, Layer, MAX_LAYERS, MAX_MANIFEST_BYTES, Manifest, ManifestError, SCHEMA_VERSION,
};
pub use store::{Kind, Loaded, NewLayer, Registered, Store, StoreError};
pub use summary::ImageSummary;
pub use superblock::InvalidSuperblock;
