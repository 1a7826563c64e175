//! Images and bases in the store.

use jiff::Timestamp;
use serde::Serialize;

use super::{ImageSource, Service};
use crate::{
    Error, ImageName,
    image::{Aimg, Digest, Kind, Manifest},
};

/// An image as listings show it.
#[derive(Debug, Clone, Serialize)]
pub struct ImageSummary {
    /// Its name.
    pub name: ImageName,
    /// The digest of its manifest.
    pub digest: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// How many layers it has.
    pub layers: usize,
    /// All its layers together, in bytes.
    pub size_bytes: u64,
    /// The base under it; none if it is one.
    pub base: Option<ImageName>,
}

impl ImageSummary {
    pub(crate) fn of(manifest: &Manifest) -> Result<Self, Error> {
        Ok(Self {
            name: manifest.name.clone(),
            digest: manifest.digest()?,
            created: manifest.created,
            layers: manifest.layers.len(),
            size_bytes: manifest.size_bytes(),
            base: manifest.base.as_ref().map(|base| base.name.clone()),
        })
    }
}

impl Service {
    /// The bases in the store, by name.
    pub fn bases(&self) -> Result<Vec<ImageSummary>, Error> {
        self.summaries(Kind::Base)
    }

    /// The images in the store, by name.
    pub fn images(&self) -> Result<Vec<ImageSummary>, Error> {
        self.summaries(Kind::Image)
    }

    fn summaries(&self, kind: Kind) -> Result<Vec<ImageSummary>, Error> {
        let store = self.store();
        let found = store.names(kind)?.into_iter().filter_map(|name| store.find(kind, &name).transpose());
        found.map(|manifest| ImageSummary::of(&manifest?)).collect()
    }

    /// An image's manifest: from the store, or from a file, which is not loaded.
    pub fn inspect_image(&self, source: &ImageSource) -> Result<Manifest, Error> {
        match source {
            ImageSource::File(path) => Ok(Aimg::open(path)?.manifest().clone()),
            ImageSource::Name(name) => self.find_image(name),
        }
    }

    /// An image by name, or a base.
    pub(super) fn find_image(&self, name: &ImageName) -> Result<Manifest, Error> {
        let store = self.store();
        let found = match store.find(Kind::Image, name)? {
            Some(manifest) => Some(manifest),
            None => store.find(Kind::Base, name)?,
        };
        found.ok_or_else(|| Error::UnknownImage { name: name.clone() })
    }

    /// Removes a base from the store unless a container or an image is made from it. `gc` drops its layers.
    pub fn remove_base(&self, name: &ImageName) -> Result<(), Error> {
        let base = self.store().find(Kind::Base, name)?.ok_or_else(|| Error::UnknownBase { name: name.clone() })?;
        let digest = base.digest()?;
        let store = self.store();
        for image in store.names(Kind::Image)? {
            let manifest = store.find(Kind::Image, &image)?;
            if manifest.and_then(|manifest| manifest.base).is_some_and(|base| base.digest == digest) {
                return Err(Error::ImageUsed { name: name.clone(), user: format!("image {image}") });
            }
        }
        self.remove(Kind::Base, name, digest)
    }

    /// Removes an image from the store unless a container is made from it. `gc` drops its layers.
    pub fn remove_image(&self, name: &ImageName) -> Result<(), Error> {
        let found = self.store().find(Kind::Image, name)?.ok_or_else(|| Error::UnknownImage { name: name.clone() })?;
        self.remove(Kind::Image, name, found.digest()?)
    }

    fn remove(&self, kind: Kind, name: &ImageName, digest: Digest) -> Result<(), Error> {
        for container in self.records()? {
            if container.image.digest == digest || container.base.digest == digest {
                return Err(Error::ImageUsed { name: name.clone(), user: format!("container {}", container.name) });
            }
        }
        Ok(self.store().remove(kind, name)?)
    }
}
