//! Images: layers and a configuration, in the store or as one file.

mod config;
mod digest;

pub use config::ImageConfig;
pub use digest::{Digest, InvalidDigest};
