//! Bases: built from recipes (`images/bases/*.toml`) or imported, and made fit for containers either way.

mod busybox;
mod error;
mod fit;
mod import;
mod mmdebstrap;
mod recipe;

pub use error::BaseError;
pub use import::import;
pub use recipe::{Recipe, RecipeSource, recipes};

use appcontainers_sys::squashfs::Options;
use jiff::Timestamp;

use super::{ImageConfig, Kind, Layer, Manifest, SCHEMA_VERSION, Store, StoreError};
use crate::{ImageName, Progress};

/// Builds a base from a recipe and registers it under the recipe's name. Building what is there already changes
/// nothing.
pub fn build(store: &Store, recipe: &Recipe, progress: &dyn Progress) -> Result<Manifest, BaseError> {
    let _in_use = store.keep_layers()?;
    let new = store.new_layer()?;
    let file = new.file().try_clone().map_err(BaseError::Duplicate)?;
    let options = Options::default();
    match &recipe.source {
        RecipeSource::Busybox(source) => busybox::pack(source, file, &options)?,
        RecipeSource::Mmdebstrap(source) => mmdebstrap::pack(source, file, &options, progress)?,
    }
    let layer = new.finish(progress)?;
    register(store, recipe.name.clone(), vec![layer], recipe.config.clone())
}

/// Names a new base. One of that name that differs only in when it was made is left as it is.
fn register(store: &Store, name: ImageName, layers: Vec<Layer>, config: ImageConfig) -> Result<Manifest, BaseError> {
    let manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        name,
        created: now(),
        architecture: architecture(),
        layers,
        base: None,
        config,
    };
    if let Some(existing) = store.find(Kind::Base, &manifest.name)?
        && (Manifest { created: existing.created, ..manifest.clone() }) == existing
    {
        return Ok(existing);
    }
    store.register(Kind::Base, &manifest)?;
    Ok(manifest)
}

/// The time in whole seconds: what a manifest says.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

/// What `uname -m` says.
pub(crate) fn architecture() -> String {
    rustix::system::uname().machine().to_string_lossy().to_lowercase()
}

impl From<StoreError> for BaseError {
    fn from(source: StoreError) -> Self {
        Self::Store(source)
    }
}
