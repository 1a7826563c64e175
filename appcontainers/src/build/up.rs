//! A container of an app file: made, brought up to date, taken away. Doing it again changes what has changed, and no more.
//!
//! That a container is an app file's stands in its configuration from its first moment.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    AppFile, BuildError, BuildOptions, Built, ContainerSection,
    apply::{apply, egress},
};
use crate::{
    Container, ContainerName, Error, ImageName, OverlayKind, Progress, Service,
    container::{DEFAULT_STOP_TIMEOUT, NewContainer},
    image::{Digest, Manifest},
    record::ContainerRecord,
    runtime::{RuntimeError, Status},
    secret,
    skeleton::Phase,
    volume::{self, VolumeError},
};

/// How to bring a container up.
#[derive(Debug)]
pub struct UpOptions {
    /// How the image is built.
    pub build: BuildOptions,
    /// How long the container has to stop, where it gets another image.
    pub stop_timeout: Duration,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self { build: BuildOptions::default(), stop_timeout: DEFAULT_STOP_TIMEOUT }
    }
}

/// What was brought up.
#[derive(Debug, Clone, Serialize)]
pub struct Up {
    /// The container.
    pub name: ContainerName,
    /// Its image.
    pub image: Digest,
    /// What was done, in this order; nothing where all was as it should be.
    pub done: Vec<UpAction>,
    /// How the image was built.
    pub built: Built,
}

/// Something that was done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpAction {
    /// It was made.
    Created,
    /// It got another image, and lost what was written in it.
    Replaced,
    /// Its rules were changed.
    Changed,
    /// It was started.
    Started,
}

impl UpAction {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Changed => "changed",
            Self::Started => "started",
        }
    }
}

impl Service {
    /// Builds the image that an app file describes, makes the file's container of it unless it is there, brings it up to date,
    /// starts it, and waits until it is ready. A container with an older image gets the new one: it keeps name, address, MAC
    /// and rules, and loses what was written in it. What has changed of its rules and settings is changed while it runs, but for its
    /// variables, which restart it. Volumes that are not there are made.
    pub fn up(&self, file: &AppFile, options: &UpOptions, progress: &dyn Progress) -> Result<Up, Error> {
        let section = &file.container;
        // Before anything is built.
        secret::check(self.paths(), &section.secrets())?;
        let (manifest, built) = self.build_manifest(file, &options.build, progress)?;
        let name = container_name(file, Some(&manifest.name))?;
        let image = manifest.digest()?;
        let mut done = Vec::new();
        let owned = self.owned(file, &name)?;
        self.make_volumes(section, progress)?;
        let container = match owned {
            None => {
                progress.say(&format!("making container {name}"));
                done.push(UpAction::Created);
                self.make_for(file, &name, &manifest)?
            }
            Some(container) => {
                let record = container.record()?;
                check_fixed(&record, section)?;
                if record.image.digest != image {
                    progress.say(&format!("container {name} gets the new image"));
                    container.replace_image(&manifest, &section.env, options.stop_timeout)?;
                    done.push(UpAction::Replaced);
                }
                container
            }
        };
        let is_new = done.contains(&UpAction::Created);
        if apply(&container, file, &manifest.config, options.stop_timeout)? && !is_new {
            done.push(UpAction::Changed);
        }
        match self.start_up(&container, section) {
            Ok(()) => done.push(UpAction::Started),
            Err(Error::Runtime(RuntimeError::Running { .. })) => {}
            Err(error) => return Err(error),
        }
        wait(&container, section, progress)?;
        Ok(Up { name, image, done, built })
    }

    /// Stops an app file's container and removes it, with all that was written in it: which one that was, or none if there was
    /// none. The image and the volumes stay.
    pub fn down(&self, file: &AppFile, timeout: Duration) -> Result<Option<ContainerName>, Error> {
        let name = container_name(file, file.image_name().as_ref())?;
        let Some(container) = self.owned(file, &name)? else { return Ok(None) };
        container.stop(timeout)?;
        container.remove(true)?;
        Ok(Some(name))
    }

    /// The container of this name, if it is there; an error if it is not the app file's.
    fn owned(&self, file: &AppFile, name: &ContainerName) -> Result<Option<Container>, Error> {
        match ContainerRecord::load(self.paths(), name)? {
            None => Ok(None),
            Some(record) if record.app_file.as_deref() == Some(&*place(&file.path)) => self.container(name).map(Some),
            Some(_) => Err(BuildError::NotOurs { name: name.clone(), path: file.path.clone() }.into()),
        }
    }

    /// Makes the volumes that the container is to have and that are not there.
    fn make_volumes(&self, section: &ContainerSection, progress: &dyn Progress) -> Result<(), Error> {
        if section.volumes.is_empty() {
            return Ok(());
        }
        let mut present = volume::names(self.paths())?;
        for name in section.volumes.iter().filter_map(|volume| volume.value.0.volume_name()) {
            if present.contains(name) {
                continue;
            }
            progress.say(&format!("making volume {name}"));
            let size = section.volume_sizes.get(name).map(|size| size.value.bytes());
            match self.create_volume(name, size) {
                // Somebody was faster.
                Ok(()) | Err(Error::Volume(VolumeError::Taken { .. })) => present.push(name.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Starts the container after what it is to be started after; an error if it runs.
    fn start_up(&self, container: &Container, section: &ContainerSection) -> Result<(), Error> {
        if container.status()? == Status::Running {
            return container.start();
        }
        let outcome = self.start_all(&[container.name().clone()], section.patience())?.pop();
        outcome.map_or(Ok(()), |outcome| outcome.result)
    }

    fn make_for(&self, file: &AppFile, name: &ContainerName, manifest: &Manifest) -> Result<Container, Error> {
        let section = &file.container;
        let new = NewContainer {
            name: Some(name),
            hostname: None,
            privileged: section.privileged,
            overlay: OverlayKind::Raw,
            autostart: section.autostart,
            for_build: false,
            app_file: Some(place(&file.path)),
            init: section.init,
            network: section.network,
            settings: &section.settings(&file.context()),
            files: &[],
            env: &section.env,
            manifest,
        };
        self.make(&new, Phase::Load, &egress(section))
    }
}

/// Waits until the container is ready, as far as the section says what that is.
fn wait(container: &Container, section: &ContainerSection, progress: &dyn Progress) -> Result<(), Error> {
    let until = Instant::now() + section.patience();
    if let Some((wait, port)) = section.wait.as_ref().and_then(|wait| Some((wait, wait.port?))) {
        progress.say(&format!("waiting for port {port} of container {}", container.name()));
        container.wait_port(port, wait.http.as_ref().map(|path| &path.value), section.patience())?;
    }
    if section.health.is_some() {
        progress.say(&format!("waiting until container {} is healthy", container.name()));
        container.wait_healthy(until.saturating_duration_since(Instant::now()))?;
    }
    Ok(())
}

/// The file, however it was named.
fn place(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn container_name(file: &AppFile, image: Option<&ImageName>) -> Result<ContainerName, Error> {
    if let Some(name) = &file.container.name {
        return Ok(name.clone());
    }
    let image = image.ok_or_else(|| BuildError::NoName { path: file.path.clone() })?;
    Ok(image.as_str().parse()?)
}

/// What stays as it was when the container was made.
fn check_fixed(record: &ContainerRecord, section: &ContainerSection) -> Result<(), BuildError> {
    let fixed = [
        (record.privileged == section.privileged, "container.privileged"),
        (record.init == section.init, "container.init"),
        (record.network == section.network, "container.network"),
    ];
    match fixed.into_iter().find(|(same, _)| !same) {
        None => Ok(()),
        Some((_, what)) => Err(BuildError::Fixed { name: record.name.clone(), what }),
    }
}
