//! Making a container: reservation, overlay, configuration, in this order. What is begun and not ended is an
//! orphan that `gc` removes; what fails is undone here.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
};

use jiff::Timestamp;
use rand::Rng as _;
use serde_json::Value;

use super::{BootFile, Container, boot_files, limits, monitor, mounts::prepare as prepare_mounts, recover, rename};
use crate::{
    ContainerName, Error, Hostname, ImageName, Paths, Service,
    error::io_error,
    event, gateway,
    image::{BaseReference, ImageConfig, Manifest},
    network::{NetworkMode, PoolSettings, Reservation, ReservationError, ReservationStore, ReserveOptions},
    record::{ContainerRecord, Init, OverlayKind},
    runtime, secret,
    settings::Settings,
    skeleton::{self, Phase, SkeletonContext},
    state::{ContainerLock, HostLock, create_directory},
};

/// What a new container is.
pub(crate) struct NewContainer<'a> {
    pub(crate) name: Option<&'a ContainerName>,
    pub(crate) hostname: Option<&'a Hostname>,
    pub(crate) privileged: bool,
    pub(crate) overlay: OverlayKind,
    pub(crate) autostart: bool,
    /// A build works in it: what it writes is to be the build's alone, so the skeleton puts nothing into it.
    pub(crate) for_build: bool,
    /// The app file that it is made for.
    pub(crate) app_file: Option<PathBuf>,
    pub(crate) init: Init,
    pub(crate) network: NetworkMode,
    pub(crate) settings: &'a Settings,
    pub(crate) files: &'a [BootFile],
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) manifest: &'a Manifest,
}

/// Makes a container and puts the skeleton's files of `phase` into it.
pub(crate) fn create(paths: &Paths, new: &NewContainer<'_>, phase: Phase) -> Result<Container, Error> {
    // All that can be wrong with what was asked for, before anything is made.
    secret::check(paths, &new.settings.secrets)?;
    boot_files::check(new.files)?;
    config(new).validate()?;
    limits::check(paths, &new.settings.limits)?;
    // Before there is a name: what nobody named is in nobody's way.
    let name = new.name.cloned().unwrap_or_else(|| random_name(&new.manifest.name));
    let records = || Service::open(paths.clone()).records();
    super::life::check(&name, new.overlay, &new.settings.life, records)?;
    let options = ReserveOptions { privileged: new.privileged, durability: new.overlay.durability() };
    let (lock, reservation, settings) = reserve(paths, new.name, &new.manifest.name, options)?;
    // Where one of this name was lost in a power cut: what was published of that is not this one's.
    gateway::forget(paths, lock.name());
    let container = Container { paths: paths.clone(), name: lock.name().clone() };
    let made = write(paths, new, phase, &reservation).and_then(|record| {
        let context = SkeletonContext::new(&reservation, &settings, &record.hostname);
        boot_files::keep(paths, &record.name, new.files, &context)?;
        let files = if new.for_build { None } else { first_files(paths, &record, &reservation, &settings)? };
        files.map_or(Ok(()), |tar| container.unpack_rendered(&lock, tar, false))
    });
    match made {
        Ok(()) => {
            warn_if_privileged(container.name(), new.privileged);
            let image = Value::from(new.manifest.name.as_str());
            event::note(paths, container.name(), "create", &[("image", image)]);
            Ok(container)
        }
        Err(error) => {
            undo(paths, &lock);
            Err(error)
        }
    }
}

pub(super) fn warn_if_privileged(name: &ContainerName, privileged: bool) {
    if privileged {
        tracing::warn!(
            "{name} has no user namespace: root in it is root on this host, held back by capabilities alone"
        );
    }
}

/// Removes a container whose making has failed.
pub(super) fn undo(paths: &Paths, lock: &ContainerLock) {
    let ended = monitor::end(paths, lock);
    if let Err(undo) = ended.and_then(|()| runtime::remove(paths, lock)) {
        tracing::warn!(name = %lock.name(), %undo, "cannot undo the making of a container; `appc gc` will");
    }
}

/// Reserves a name, which is made of the image's if none is given, and all else that a container has alone.
pub(super) fn reserve(
    paths: &Paths,
    name: Option<&ContainerName>,
    image: &ImageName,
    options: ReserveOptions,
) -> Result<(ContainerLock, Reservation, PoolSettings), Error> {
    let given = name;
    loop {
        let name = given.cloned().unwrap_or_else(|| random_name(image));
        if ContainerRecord::load(paths, &name)?.is_some() {
            // It may have gone with its stop, or with a reboot, and only its name be left.
            recover(paths, &ContainerLock::acquire(paths, &name)?)?;
        }
        let lock = ContainerLock::acquire(paths, &name)?;
        // Another container's files may still lie under this name.
        rename::complete(paths, &lock)?;
        let host = HostLock::acquire(paths)?;
        let mut store = ReservationStore::open(paths, &host)?;
        match store.reserve(&name, options) {
            Ok(reservation) => return Ok((lock, reservation, store.settings().clone())),
            Err(ReservationError::Taken { .. }) if given.is_none() => {}
            Err(ReservationError::Taken { .. }) if is_orphan(paths, &lock)? => {
                drop(host);
                runtime::remove(paths, &lock)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a command that was killed while it made or removed the container left only parts of it.
pub(crate) fn is_orphan(paths: &Paths, lock: &ContainerLock) -> Result<bool, Error> {
    let name = lock.name();
    // In this order: a renaming that is completed in between has brought its record here.
    let is_renamed = rename::is_target(paths, name)?;
    let is_made = ContainerRecord::load(paths, name)?.is_some_and(|record| !record.unfinished);
    Ok(!is_renamed && !is_made && runtime::status(paths, name)?.can_start())
}

/// The image's name, shortened where it must be, and six random letters and digits.
fn random_name(image: &ImageName) -> ContainerName {
    const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = rand::rng();
    let image: String = image.as_str().chars().take(40).collect();
    loop {
        let end: String = (0..6).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
        if let Ok(name) = format!("{image}-{end}").parse() {
            return name;
        }
    }
}

/// How its program is run: as the image says, with the variables that it was given.
fn config(new: &NewContainer<'_>) -> ImageConfig {
    let mut config = new.manifest.config.clone();
    config.env.extend(new.env.clone());
    config
}

/// What a container's writable layer begins with, as a tar: the skeleton's files, and over them those that it was given. None if
/// that is nothing.
pub(super) fn first_files(
    paths: &Paths,
    record: &ContainerRecord,
    reservation: &Reservation,
    settings: &PoolSettings,
) -> Result<Option<File>, Error> {
    let context = SkeletonContext::new(reservation, settings, &record.hostname);
    let files = skeleton::render(paths, record.phase(), &context)?;
    let skeletons = if files.is_empty() { None } else { Some(skeleton::to_tar(&files)?) };
    boot_files::chain(&paths.container(&record.name), skeletons, boot_files::kept(paths, &record.name)?)
}

fn write(
    paths: &Paths,
    new: &NewContainer<'_>,
    phase: Phase,
    reservation: &Reservation,
) -> Result<ContainerRecord, Error> {
    let name = &reservation.name;
    let (mounts, _volumes) = prepare_mounts(paths, name, &new.settings.mounts)?;
    if let (Some(range), Some(layer)) = (reservation.id_range, new.manifest.layers.first()) {
        runtime::check_id_mapping(paths, name, &layer.digest, range)?;
    }
    create_directories(paths, new.overlay, reservation, new.settings.disk)?;
    let image = BaseReference { name: new.manifest.name.clone(), digest: new.manifest.digest()? };
    let record = ContainerRecord {
        name: name.clone(),
        created: Timestamp::now(),
        hostname: new.hostname.cloned().unwrap_or_else(|| Hostname::of(name)),
        privileged: new.privileged,
        base: new.manifest.base.clone().unwrap_or_else(|| image.clone()),
        image,
        layers: new.manifest.layers.iter().map(|layer| layer.digest).collect(),
        overlay: new.overlay,
        phase: Some(phase),
        boot: (new.overlay == OverlayKind::Tmp).then(runtime::boot::id),
        survives_stop: false,
        unfinished: false,
        autostart: new.autostart,
        for_build: new.for_build,
        app_file: new.app_file.clone(),
        init: new.init,
        network: new.network,
        settings: Settings { mounts, ..new.settings.clone() },
        config: config(new),
    };
    store_first(paths, &record)?;
    Ok(record)
}

/// Makes a container's directories, and its writable layer, empty.
pub(super) fn create_directories(
    paths: &Paths,
    kind: OverlayKind,
    reservation: &Reservation,
    disk: Option<u64>,
) -> Result<(), Error> {
    let name = &reservation.name;
    runtime::create_overlay(paths, name, kind, reservation.id_range)?;
    for directory in [paths.container(name), paths.container_log(name)] {
        create_directory(&directory, 0o700).map_err(io_error("create", &directory))?;
    }
    if let Some(bytes) = disk {
        runtime::create_disk(paths, name, kind, reservation.id_range, bytes)?;
    }
    Ok(())
}

/// Writes the first record of a container.
pub(super) fn store_first(paths: &Paths, record: &ContainerRecord) -> Result<(), Error> {
    {
        let _secrets = secret::granting(paths, &record.settings)?;
        record.store(paths)?;
    }
    if record.overlay == OverlayKind::Raw {
        // The record's name in its directory is on disk; the directory's own name must be too.
        let containers = paths.containers();
        fs::File::open(&containers).and_then(|file| file.sync_all()).map_err(io_error("sync", &containers))?;
    }
    Ok(())
}
