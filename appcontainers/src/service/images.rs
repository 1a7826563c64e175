//! Images and bases in the store.

use std::{collections::HashSet, path::Path, time::Duration};

use super::{ImageSource, Service};
use crate::{
    Error, ImageName, Progress,
    build::BuildCache,
    container,
    image::{
        Aimg, Digest, ImageSummary, Kind, Manifest,
        base::{self, Recipe},
    },
};

impl Service {
    /// The recipes that this program knows, by name.
    pub fn recipes(&self) -> Result<Vec<Recipe>, Error> {
        Ok(base::recipes()?)
    }

    /// Builds a base from a recipe: one of ours by name, or a file by path.
    pub fn build_base(&self, recipe: &str, progress: &dyn Progress) -> Result<ImageSummary, Error> {
        let recipe = Recipe::find(recipe)?;
        self.prepare()?;
        let _in_use = self.store().keep_layers()?;
        Ok(ImageSummary::of(&base::build(&self.store(), &recipe, progress)?)?)
    }

    /// Makes a base of a tar archive (plain or compressed), a squashfs or a directory.
    pub fn import_base(
        &self,
        source: &Path,
        name: Option<ImageName>,
        progress: &dyn Progress,
    ) -> Result<ImageSummary, Error> {
        self.prepare()?;
        let _in_use = self.store().keep_layers()?;
        Ok(ImageSummary::of(&base::import(&self.store(), source, name, progress)?)?)
    }

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
        found.map(|manifest| Ok(ImageSummary::of(&manifest?)?)).collect()
    }

    /// An image's manifest: from the store, or from a file, which is not loaded.
    pub fn inspect_image(&self, source: &ImageSource) -> Result<Manifest, Error> {
        match source {
            ImageSource::File(path) => match Aimg::open(path) {
                Ok(aimg) => Ok(aimg.manifest().clone()),
                Err(source) => Err(Error::Inspect { path: path.clone(), source }),
            },
            ImageSource::Name(name) => self.find_image(name),
        }
    }

    /// An image by name, or a base.
    pub(crate) fn find_image(&self, name: &ImageName) -> Result<Manifest, Error> {
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

    /// The layers that images, bases, containers and their snapshots have, and those of build steps that were of use within `unused_steps`.
    pub(super) fn referenced_layers(&self, unused_steps: Duration) -> Result<HashSet<Digest>, Error> {
        let mut layers = HashSet::new();
        for record in self.records()? {
            layers.extend(container::layers_of_snapshots(&self.paths, &record.name)?);
            layers.extend(record.layers);
        }
        layers.extend(BuildCache::new(&self.paths).layers(unused_steps)?);
        let store = self.store();
        for kind in [Kind::Base, Kind::Image] {
            for name in store.names(kind)? {
                let manifest = store.find(kind, &name)?;
                layers.extend(manifest.into_iter().flat_map(|manifest| manifest.layers).map(|layer| layer.digest));
            }
        }
        Ok(layers)
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
