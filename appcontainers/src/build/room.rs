//! The container that a build works in: made for the first step that is not in the cache, gone with the build.
//!
//! Who builds holds a lock on the cache's directory, shared; who gets it alone knows that no build is under way, and that
//! containers for builds are what killed ones have left.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
};

use rustix::fs::{FlockOperation, flock};

use super::StepNetwork;
use crate::{
    Container, Error, Hostname, OverlayKind, Paths,
    container::{NewContainer, create},
    error::io_error,
    image::{ImageConfig, Layer, Manifest},
    network::{NetworkMode, policy::Egress},
    record::{ContainerRecord, Init},
    service::Garbage,
    settings::Settings,
    skeleton::Phase,
};

/// What containers for builds are called, and think they are.
const NAME: &str = "build";

/// A build that is under way: what others see of it.
#[derive(Debug)]
pub(super) struct UnderWay {
    _lock: File,
}

impl UnderWay {
    /// Says that a build is under way, until this is dropped; removes first what killed ones have left.
    pub(super) fn enter(paths: &Paths) -> Result<Self, Error> {
        sweep(paths, false)?;
        let path = paths.build_cache();
        fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        let lock = File::open(&path).map_err(io_error("open", &path))?;
        flock(&lock, FlockOperation::LockShared).map_err(|errno| io_error("lock", &path)(errno.into()))?;
        Ok(Self { _lock: lock })
    }
}

/// Removes the containers of builds that were killed. Nothing while a build is under way.
pub(crate) fn sweep(paths: &Paths, dry_run: bool) -> Result<Vec<Garbage>, Error> {
    let path = paths.build_cache();
    let lock = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        lock => lock.map_err(io_error("open", &path))?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Vec::new()),
        Err(errno) => return Err(io_error("lock", &path)(errno.into())),
    }
    let containers = paths.containers();
    let entries = match fs::read_dir(&containers) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", &containers))?,
    };
    let mut garbage = Vec::new();
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // What can't be read is no build's as far as anybody knows.
        if !matches!(ContainerRecord::load(paths, &name), Ok(Some(record)) if record.for_build) {
            continue;
        }
        garbage.push(Garbage { kind: "container of a build", name: name.to_string(), bytes: 0 });
        if !dry_run {
            match Container::open(paths, &name).and_then(|container| container.remove(true)) {
                // It went by itself meanwhile.
                Err(_) if ContainerRecord::load(paths, &name).is_ok_and(|record| record.is_none()) => {}
                removed => removed?,
            }
        }
    }
    Ok(garbage)
}

/// The container, once it is needed. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Room<'p> {
    paths: &'p Paths,
    privileged: bool,
    container: Option<(Container, StepNetwork)>,
}

impl<'p> Room<'p> {
    pub(super) fn new(paths: &'p Paths, privileged: bool) -> Self {
        Self { paths, privileged, container: None }
    }

    /// The container, on these layers, which reaches what the step may reach.
    pub(super) fn on(&mut self, start: &Manifest, layers: &[Layer], network: StepNetwork) -> Result<Container, Error> {
        let (container, reaches) = match self.container.take() {
            Some(there) => there,
            None => (self.make(start, layers)?, StepNetwork::All),
        };
        self.container = Some((container.clone(), reaches));
        container.stand_on(layers)?;
        if reaches != network {
            container.set_egress(match network {
                StepNetwork::All => Egress::All,
                StepNetwork::None => Egress::None,
            })?;
            self.container = Some((container.clone(), network));
        }
        Ok(container)
    }

    fn make(&self, start: &Manifest, layers: &[Layer]) -> Result<Container, Error> {
        let manifest =
            Manifest { name: NAME.parse()?, layers: layers.to_vec(), config: ImageConfig::default(), ..start.clone() };
        let hostname = NAME.parse::<Hostname>().ok();
        let new = NewContainer {
            name: None,
            hostname: hostname.as_ref(),
            privileged: self.privileged,
            overlay: OverlayKind::Tmp,
            autostart: false,
            for_build: true,
            app_file: None,
            init: Init::App,
            network: NetworkMode::Routed,
            settings: &Settings::default(),
            files: &[],
            env: &BTreeMap::new(),
            manifest: &manifest,
        };
        create(self.paths, &new, Phase::Load)
    }

    /// Removes the container.
    pub(super) fn close(mut self) -> Result<(), Error> {
        self.container.take().map_or(Ok(()), |(container, _)| container.remove(true))
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some((container, _)) = self.container.take() {
            let name = container.name().clone();
            if let Err(error) = container.remove(true) {
                tracing::warn!(%name, %error, "cannot remove a build's container; `appc gc` will");
            }
        }
    }
}
