//! A container of an app file: made, brought up to date, taken away. Doing it again changes what has changed, and no more.
//!
//! That a container is an app file's stands in its configuration from its first moment; which rules it got from the file, in
//! `containers/NAME/up.json`, written when all of them are in force. So what the file does not name any more is taken away,
//! and rules that were added by hand stay.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{AppFile, BuildError, BuildOptions, Built, ContainerSection};
use crate::{
    Container, ContainerName, Error, Hostname, ImageName, OverlayKind, Paths, Progress, Service,
    container::{DEFAULT_STOP_TIMEOUT, NewContainer},
    image::{Digest, Manifest},
    network::policy::{Egress, PortRange, Publication},
    record::ContainerRecord,
    runtime::RuntimeError,
    settings::Settings,
    skeleton::Phase,
    state::{Durability, Versioned, read, write},
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

/// The rules that a container got from its app file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Applied {
    container: ContainerSection,
}

impl Versioned for Applied {
    const KIND: &'static str = "list of what `appc up` did";
    const MEND: &'static str = "remove it; `appc up` does all again";
    const VERSION: u32 = 1;
}

impl Service {
    /// Builds the image that an app file describes, makes the file's container of it unless it is there, brings it up to date,
    /// starts it, and waits until it is ready. A container with an older image gets the new one: it keeps name, address, MAC
    /// and rules, and loses what was written in it. What has changed of its rules is changed while it runs.
    pub fn up(&self, file: &AppFile, options: &UpOptions, progress: &dyn Progress) -> Result<Up, Error> {
        let (manifest, built) = self.build_manifest(file, &options.build, progress)?;
        let name = container_name(file, Some(&manifest.name))?;
        let section = &file.container;
        let image = manifest.digest()?;
        let mut done = Vec::new();
        let container = match self.owned(file, &name)? {
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
                    container.replace_image(&manifest, options.stop_timeout)?;
                    done.push(UpAction::Replaced);
                }
                container
            }
        };
        let is_new = done.contains(&UpAction::Created);
        if apply(self.paths(), &container, section)? && !is_new {
            done.push(UpAction::Changed);
        }
        match container.start() {
            Ok(()) => done.push(UpAction::Started),
            Err(Error::Runtime(RuntimeError::Running { .. })) => {}
            Err(error) => return Err(error),
        }
        if let Some(wait) = &section.wait {
            progress.say(&format!("waiting for port {} of container {name}", wait.port));
            container.wait_port(wait.port, wait.http.as_ref().map(|path| &path.value), wait.timeout())?;
        }
        Ok(Up { name, image, done, built })
    }

    /// Stops an app file's container and removes it, with all that was written in it: which one that was, or none if there was
    /// none. The image stays.
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
            settings: &settings(section),
            files: &[],
            env: &BTreeMap::new(),
            manifest,
        };
        self.make(&new, Phase::Load, &egress(section))
    }
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

fn egress(section: &ContainerSection) -> Egress {
    section.egress.as_ref().map_or(Egress::All, |egress| egress.value.clone())
}

/// What the container is given beyond its image.
fn settings(section: &ContainerSection) -> Settings {
    let mut settings = Settings::default();
    section.limits.iter().for_each(|limit| settings.limits.apply(&limit.value));
    settings
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

/// Puts the section's rules in force, and takes away those that it had before: whether anything was changed.
fn apply(paths: &Paths, container: &Container, section: &ContainerSection) -> Result<bool, Error> {
    let path = paths.container(container.name()).join("up.json");
    let before = read::<Applied>(&path)?.map(|applied| applied.container);
    if before.as_ref() == Some(section) && is_in_force(container, section)? {
        return Ok(false);
    }
    let is_first = before.is_none();
    let before = before.unwrap_or_default();
    if container.record()?.autostart != section.autostart {
        container.set_autostart(section.autostart)?;
    }
    apply_limits(container, &before, section)?;
    apply_rules(container, &before, section)?;
    let applied = Applied { container: section.clone() };
    write(&path, &applied, Durability::Durable)?;
    Ok(!is_first || *section != ContainerSection::default())
}

/// Whether somebody has taken away what the section gave. Nothing is changed behind the back of who adds to it.
fn is_in_force(container: &Container, section: &ContainerSection) -> Result<bool, Error> {
    let policy = container.network_policy()?;
    let record = container.record()?;
    let mut limits = record.settings.limits.clone();
    section.limits().set().for_each(|limit| limits.apply(&limit));
    Ok(limits == record.settings.limits
        && section.publish.iter().all(|one| policy.publish.contains(&one.value))
        && section.links.keys().all(|service| policy.links.contains_key(service))
        && section.egress.as_ref().is_none_or(|egress| policy.egress == egress.value)
        && record.autostart == section.autostart)
}

/// Limits that were set by hand stay, unless the file has them, or had them.
fn apply_limits(container: &Container, before: &ContainerSection, now: &ContainerSection) -> Result<(), Error> {
    let asked = container.record()?.settings.limits;
    let mut wanted = asked.clone();
    let now = now.limits();
    before.limits().changes_to(&now).chain(now.set()).for_each(|limit| wanted.apply(&limit));
    let changes: Vec<_> = asked.changes_to(&wanted).collect();
    if changes.is_empty() { Ok(()) } else { container.set_limits(&changes) }
}

fn apply_rules(container: &Container, before: &ContainerSection, now: &ContainerSection) -> Result<(), Error> {
    let policy = container.network_policy()?;
    if policy.egress != egress(now) && (now.egress.is_some() || before.egress.is_some()) {
        container.set_egress(egress(now))?;
    }
    // What goes first may be what another rule wants.
    for gone in before.publish.iter().filter(|one| !now.publish.contains(one)) {
        unless_gone(container.unpublish(&row(&gone.value), gone.value.address))?;
    }
    for gone in before.links.keys().filter(|service| !now.links.contains_key(service)) {
        unless_gone(container.unlink(gone))?;
    }
    for gone in before.allow.iter().filter(|one| !now.allow.contains(one)) {
        unless_gone(container.deny(&gone.value.from, gone.value.port))?;
    }
    for wanted in now.publish.iter().filter(|one| !policy.publish.contains(&one.value)) {
        container.publish(&wanted.value)?;
    }
    for (service, provider) in &now.links {
        if before.links.get(service) != Some(provider) || !policy.links.contains_key(service) {
            link(container, service, provider)?;
        }
    }
    for wanted in &now.allow {
        container.allow(&wanted.value.from, wanted.value.port)?;
    }
    Ok(())
}

fn link(container: &Container, service: &Hostname, to: &super::Text<super::Provider>) -> Result<(), Error> {
    container.link(service, &to.value.name, to.value.port)
}

/// The host's side of a publication.
fn row(publication: &Publication) -> PortRange {
    PortRange { protocol: publication.protocol, first: publication.host_port, count: publication.count }
}

/// What is not there any more needs not be taken away.
fn unless_gone(removed: Result<(), Error>) -> Result<(), Error> {
    match removed {
        Err(Error::NotPublished { .. } | Error::NoLink { .. } | Error::NotAllowed { .. }) => Ok(()),
        removed => removed,
    }
}
