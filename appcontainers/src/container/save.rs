//! Saving a container as an image: its writable layer becomes a layer on those that it was made from.

use std::{fs::File, path::Path};

use appcontainers_sys::squashfs;
use appcontainers_wire::client::{FromClient, ToClient};

use super::{Container, lifecycle::DEFAULT_STOP_TIMEOUT, monitor};
use crate::{
    Error, ImageName, ImageSummary, NoProgress, Progress,
    error::io_error,
    image::{
        Kind, Layer, MAX_LAYERS, Manifest, SCHEMA_VERSION, Store,
        aimg::{self, Carry},
        base,
        pack::{self, LeftOut},
    },
    process::{Connection, ConnectionError},
    record::ContainerRecord,
    runtime::{RuntimeError, Status, overlay_dir},
};

/// How to save.
///
/// # Examples
///
/// ```no_run
/// use std::path::Path;
///
/// use appcontainers::{NoProgress, Paths, SaveOptions, Service};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let options = SaveOptions { thin: true, compression_level: Some(19), name: Some("shop".parse()?) };
/// let saved = web.save_image_with(Path::new("shop.aimg"), &options, &NoProgress)?;
/// assert_eq!(saved.image.name.as_str(), "shop");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// Leave the base's layers out: the image needs a store that has them.
    pub thin: bool,
    /// zstd's level for the new layer, 1 to 22; 3 if absent.
    pub compression_level: Option<u32>,
    /// The image's name; the file's name without its ending if absent.
    pub name: Option<ImageName>,
}

impl SaveOptions {
    fn packing(&self) -> squashfs::Options {
        let default = squashfs::Options::default();
        squashfs::Options { compression_level: self.compression_level.unwrap_or(default.compression_level), ..default }
    }
}

/// What was saved.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The image.
    pub image: ImageSummary,
    /// Attributes that squashfs can't hold, which the image has not.
    pub left_out: Vec<LeftOut>,
}

impl Container {
    /// Saves the container as a full image in one file, over what is there. A running container stands still while its
    /// files are read.
    pub fn save_image(&self, dest: impl AsRef<Path>) -> Result<Saved, Error> {
        self.save_image_with(dest.as_ref(), &SaveOptions::default(), &NoProgress)
    }

    /// As [`Container::save_image`], with more to choose.
    pub fn save_image_with(&self, dest: &Path, options: &SaveOptions, progress: &dyn Progress) -> Result<Saved, Error> {
        let name = image_name(dest, options)?;
        let _lock = self.lock()?;
        let record = self.record()?;
        let store = Store::new(self.paths.clone());
        let _in_use = store.keep_layers()?;
        let (layer, left_out) = {
            let _frozen = self.freeze()?;
            self.pack(&record, &store, &options.packing(), progress)?
        };
        let mut layers = record.layers.iter().map(|digest| store.layer(digest)).collect::<Result<Vec<_>, _>>()?;
        // The very changes that the uppermost layer makes change nothing; those of another one can't stand in an
        // overlay twice.
        let layer = layer.filter(|layer| record.layers.last() != Some(&layer.digest));
        let repeats = layer.as_ref().is_some_and(|layer| record.layers.contains(&layer.digest));
        layers.extend(layer);
        let is_flat = repeats || layers.len() > MAX_LAYERS;
        if is_flat {
            layers = vec![store.flatten(&layers, &options.packing(), progress)?];
        }
        let manifest = Manifest {
            schema_version: SCHEMA_VERSION,
            name,
            created: base::now(),
            architecture: base::architecture(),
            layers,
            base: (!is_flat).then(|| record.base.clone()),
            config: record.config.clone(),
        };
        let base_layers = match options.thin {
            true if is_flat => return Err(Error::FlatIsNotThin { name: self.name.clone() }),
            true => base_layers(&record, &store)?,
            false => 0,
        };
        let carry = if options.thin { Carry::AllButLowest(base_layers) } else { Carry::All };
        aimg::write(dest, &manifest, carry, |digest| store.open_layer(digest), progress)
            .map_err(|source| Error::Save { dest: dest.to_owned(), source })?;
        Ok(Saved { image: ImageSummary::of(&manifest)?, left_out })
    }

    /// Packs the writable layer into the store; none if nothing was written.
    pub(super) fn pack(
        &self,
        record: &ContainerRecord,
        store: &Store,
        options: &squashfs::Options,
        progress: &dyn Progress,
    ) -> Result<(Option<Layer>, Vec<LeftOut>), Error> {
        let ids = self.id_shift()?;
        let upper_path = overlay_dir(&self.paths, &self.name, record.overlay).join("upper");
        let upper = File::open(&upper_path).map_err(io_error("open", &upper_path))?;
        if upper_path.read_dir().map_err(io_error("list", &upper_path))?.next().is_none() {
            return Ok((None, Vec::new()));
        }
        let new = store.new_layer()?;
        let file = new.file().try_clone().map_err(io_error("write a layer in", self.paths.layers()))?;
        let packed = pack::delta(&upper, ids, file, options, progress)
            .map_err(|source| Error::Pack { name: self.name.clone(), source })?;
        Ok((Some(new.finish(progress)?), packed.left_out))
    }

    /// Stops a running container's processes where they are until the connection that comes back is dropped. One that is on its way
    /// down has none soon: that is waited for.
    pub(crate) fn freeze(&self) -> Result<Option<Connection>, Error> {
        loop {
            match self.status()? {
                Status::Running | Status::Paused => {}
                Status::Stopped | Status::Ended => return Ok(None),
                Status::Busy => return Err(RuntimeError::Busy { name: self.name.clone() }.into()),
            }
            let frozen = monitor::connect(&self.paths, &self.name).map_err(Error::from).and_then(|mut connection| {
                let asked = ask_to_freeze(&mut connection);
                asked.map(|()| connection).map_err(|source| Error::Monitor { name: self.name.clone(), source })
            });
            match frozen {
                Ok(connection) => return Ok(Some(connection)),
                Err(Error::Monitor { source: ConnectionError::Stopping, .. }) => {
                    monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2)?;
                }
                Err(error) if self.status()? == Status::Running => return Err(error),
                // It has ended meanwhile.
                Err(_) => {}
            }
        }
    }
}

fn ask_to_freeze(connection: &mut Connection) -> Result<(), ConnectionError> {
    connection.send(&FromClient::Freeze, &[])?;
    loop {
        match connection.receive(monitor::READY_TIMEOUT)? {
            ToClient::Frozen => return Ok(()),
            ToClient::Stopped => return Err(ConnectionError::Stopping),
            _ => {}
        }
    }
}

fn image_name(dest: &Path, options: &SaveOptions) -> Result<ImageName, Error> {
    if let Some(name) = &options.name {
        return Ok(name.clone());
    }
    let stem = dest.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|_| Error::NoImageName { dest: dest.to_owned() })
}

/// How many of the lowest layers are the base's.
fn base_layers(record: &ContainerRecord, store: &Store) -> Result<usize, Error> {
    let base = store.find(Kind::Base, &record.base.name)?;
    match base {
        Some(base) if base.digest()? == record.base.digest => Ok(base.layers.len()),
        _ => Err(Error::BaseGone { name: record.base.name.clone(), digest: record.base.digest }),
    }
}
