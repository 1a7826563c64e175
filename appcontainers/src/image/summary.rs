//! What a listing says of an image.

use jiff::Timestamp;
use serde::Serialize;

use super::{Digest, Manifest, ManifestError};
use crate::ImageName;

/// What a listing says of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// What it is called.
    pub name: ImageName,
    /// Its digest.
    pub digest: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// What machine it is for.
    pub architecture: String,
    /// How many layers it has.
    pub layers: usize,
    /// Length of all layers together, those of its base too.
    pub size_bytes: u64,
    /// What it is built on.
    pub base: Option<ImageName>,
}

impl ImageSummary {
    /// The summary of a manifest that was checked.
    pub fn of(manifest: &Manifest) -> Result<Self, ManifestError> {
        Ok(Self {
            name: manifest.name.clone(),
            digest: manifest.digest()?,
            created: manifest.created,
            architecture: manifest.architecture.clone(),
            layers: manifest.layers.len(),
            size_bytes: manifest.size_bytes(),
            base: manifest.base.as_ref().map(|base| base.name.clone()),
        })
    }
}
