//! Brings an `.aimg` into the store.

use std::{io, path::Path};

use super::{
    Kind, Registered, Store, StoreError,
    layers::{CopyError, copy},
};
use crate::{
    Progress,
    image::{Aimg, AimgError, Digest, Hasher, Layer, Manifest},
    progress::Step,
};

/// What [`Store::load`] has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The image's manifest, as the store has it.
    pub manifest: Manifest,
    /// The image's digest.
    pub digest: Digest,
    /// Whether its name is new.
    pub registered: Registered,
}

impl Store {
    /// Loads an image file: copies the layers that are not here, hashes all that it carries, and then, when every
    /// digest is right, gives the image its name. A name that another image has is an error before anything is copied.
    pub fn load(&self, path: &Path, progress: &dyn Progress) -> Result<Loaded, StoreError> {
        let failed = |source| StoreError::Aimg { path: path.to_owned(), source };
        let aimg = Aimg::open(path).map_err(failed)?;
        let _in_use = self.keep_layers()?;
        let manifest = aimg.manifest().in_store();
        let digest = manifest.digest().map_err(|source| failed(AimgError::Manifest(source)))?;
        if let Some(existing) = self.find(Kind::Image, &manifest.name)? {
            let existing = existing.digest().map_err(|source| failed(AimgError::Manifest(source)))?;
            if existing != digest {
                return Err(StoreError::NameTaken { kind: Kind::Image, name: manifest.name, existing });
            }
        }
        let missing: Vec<Digest> =
            aimg.left_out().filter(|layer| !self.has_layer(layer)).map(|layer| layer.digest).collect();
        if !missing.is_empty() {
            return Err(StoreError::BaseMissing { path: path.to_owned(), missing, base: manifest.base });
        }

        let total = aimg.carried().map(|(layer, _)| layer.size_bytes).sum();
        let step = Step::begin(progress, "loading layers", Some(total));
        for (layer, offset) in aimg.carried() {
            self.load_layer(&aimg, layer, offset, &step, path)?;
        }
        drop(step);
        let registered = self.register(Kind::Image, &manifest)?;
        Ok(Loaded { manifest, digest, registered })
    }

    fn load_layer(
        &self,
        aimg: &Aimg,
        layer: &Layer,
        offset: u64,
        step: &Step<'_>,
        path: &Path,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Aimg { path: path.to_owned(), source };
        let mut bytes = step.reading(aimg.section(offset, layer.size_bytes));
        let copied = if self.has_layer(layer) {
            // Nothing to copy, but a corrupt file is to be told even then.
            let mut hasher = Hasher::default();
            copy(&mut bytes, &mut io::sink(), Some(&mut hasher)).map(|()| hasher.finish())
        } else {
            self.copy_layer(&mut bytes, layer)
        };
        let found = copied.map_err(|error| match error {
            CopyError::Read(source) => failed(AimgError::Read(source)),
            error => self.failed(error),
        })?;
        match found == layer.digest {
            true => Ok(()),
            false => Err(failed(AimgError::LayerDigest { expected: layer.digest, found })),
        }
    }
}
