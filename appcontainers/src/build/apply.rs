//! An app file's container as the file says it now: rules and settings put in force, those that it does not name any more taken away.
//!
//! What a container got from its file stands in `containers/NAME/up.json`; while it is changed, both what it had and what it is to have.
//! So what was given by hand stays, and what a command that was killed gave does not.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AppFile, ContainerSection};
use crate::{
    Container, Error, Hostname, Mount,
    image::ImageConfig,
    mounts::MountError,
    network::policy::{Egress, PortRange, Publication},
    state::{Durability, Versioned, read, write},
};

/// What a container got from its app file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Applied {
    container: ContainerSection,
    /// What a command has begun to put in force, perhaps half: it is the file's, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<ContainerSection>,
}

impl Versioned for Applied {
    const KIND: &'static str = "list of what `appc up` did";
    const MEND: &'static str = "remove it; `appc up` does all again";
    const VERSION: u32 = 1;
}

/// Where the container may connect to outside.
pub(super) fn egress(section: &ContainerSection) -> Egress {
    section.egress.as_ref().map_or(Egress::All, |egress| egress.value.clone())
}

/// Puts what the file says of its container in force, and takes away what it said before: whether anything was changed. Other
/// variables stop the container.
pub(super) fn apply(
    container: &Container,
    file: &AppFile,
    image: &ImageConfig,
    stop_timeout: Duration,
) -> Result<bool, Error> {
    let (section, context) = (&file.container, file.context());
    let path = container.paths().container(container.name()).join("up.json");
    let applied = read::<Applied>(&path)?;
    let is_first = applied.is_none();
    let Applied { container: present, begun } = applied.unwrap_or_default();
    let is_whole = !is_first && begun.is_none();
    if is_whole && present == *section && is_in_force(container, section, &context)? {
        return Ok(false);
    }
    let before = match begun {
        Some(begun) => begun.with(present),
        None => present,
    };
    // Killed from here on, it leaves both to the next.
    let begun = Applied { container: before.clone(), begun: Some(section.clone()) };
    write(&path, &begun, Durability::Durable)?;
    if container.record()?.autostart != section.autostart {
        container.set_autostart(section.autostart)?;
    }
    apply_limits(container, &before, section)?;
    apply_disk(container, is_whole && before.disk == section.disk, section)?;
    apply_mounts(container, &before, section, &context)?;
    apply_secrets(container, &before, section)?;
    apply_life(container, &before, section)?;
    apply_rules(container, &before, section, is_whole)?;
    apply_env(container, &before, section, image, stop_timeout)?;
    let applied = Applied { container: section.clone(), begun: None };
    write(&path, &applied, Durability::Durable)?;
    Ok(!is_first || *section != ContainerSection::default())
}

/// Whether somebody has taken away what the section gave. Nothing is changed behind the back of who adds to it.
fn is_in_force(container: &Container, section: &ContainerSection, context: &Path) -> Result<bool, Error> {
    let policy = container.network_policy()?;
    let record = container.record()?;
    let mut wanted = record.settings.clone();
    section.limits().set().for_each(|limit| wanted.limits.apply(&limit));
    section.apply_life(section, &mut wanted.life);
    Ok(wanted == record.settings
        && mounts(section, context)?.iter().all(|mount| record.settings.mounts.contains(mount))
        && section.secrets().iter().all(|secret| record.settings.secrets.contains(secret))
        && section.disk.is_some() <= record.settings.disk.is_some()
        && section.env.iter().all(|(key, value)| record.config.env.get(key) == Some(value))
        && section.publish.iter().all(|one| policy.publish.contains(&one.value))
        && section.links.keys().all(|service| policy.links.contains_key(service))
        && section.egress.as_ref().is_none_or(|egress| policy.egress == egress.value)
        && record.autostart == section.autostart)
}

/// What is mounted, as a container's settings have it.
fn mounts(section: &ContainerSection, context: &Path) -> Result<Vec<Mount>, MountError> {
    section.mounts(context).into_iter().map(Mount::resolved).collect()
}

/// A disk that was made larger by hand stays so. None can be taken away.
fn apply_disk(container: &Container, is_same: bool, now: &ContainerSection) -> Result<(), Error> {
    let Some(wanted) = now.disk.as_ref().map(|size| size.value.bytes()) else { return Ok(()) };
    let present = container.record()?.settings.disk;
    if present.is_none() || (!is_same && present != Some(wanted)) {
        container.set_disk(wanted)?;
    }
    Ok(())
}

/// What is mounted below something that comes or goes is taken out before that, and mounted again.
fn apply_mounts(
    container: &Container,
    before: &ContainerSection,
    now: &ContainerSection,
    context: &Path,
) -> Result<(), Error> {
    let present = container.record()?.settings.mounts;
    let wanted = mounts(now, context)?;
    let files = before.mounts(context);
    let is_the_files = |mount: &&Mount| {
        wanted.contains(mount)
            || files.iter().any(|one| one.path == mount.path && one.volume_name() == mount.volume_name())
    };
    let mut ours: Vec<&Mount> = present.iter().filter(is_the_files).collect();
    ours.sort_by(|one, other| other.path.cmp(&one.path));
    let changes = ours.iter().copied().filter(|mount| !wanted.contains(mount));
    let changes: Vec<&Mount> = changes.chain(wanted.iter().filter(|mount| !present.contains(mount))).collect();
    for mount in &ours {
        if changes.iter().any(|change| mount.path.as_path().starts_with(change.path.as_path())) {
            container.unmount(&mount.path)?;
        }
    }
    let present = container.record()?.settings.mounts;
    wanted.into_iter().filter(|mount| !present.contains(mount)).try_for_each(|mount| container.mount(mount))
}

fn apply_secrets(container: &Container, before: &ContainerSection, now: &ContainerSection) -> Result<(), Error> {
    let (before, now) = (before.secrets(), now.secrets());
    let present = container.record()?.settings.secrets;
    for gone in present.iter().filter(|secret| before.contains(secret) && !now.contains(secret)) {
        container.revoke_secret(&gone.name)?;
    }
    now.into_iter().filter(|secret| !present.contains(secret)).try_for_each(|secret| container.grant_secret(secret))
}

fn apply_life(container: &Container, before: &ContainerSection, now: &ContainerSection) -> Result<(), Error> {
    let present = container.record()?.settings.life;
    let mut wanted = present.clone();
    now.apply_life(before, &mut wanted);
    if wanted == present { Ok(()) } else { container.set_life(|life| now.apply_life(before, life)) }
}

/// A variable that the file does not name any more has the image's value again.
fn apply_env(
    container: &Container,
    before: &ContainerSection,
    now: &ContainerSection,
    image: &ImageConfig,
    stop_timeout: Duration,
) -> Result<(), Error> {
    let present = container.record()?.config.env;
    let mut wanted = present.clone();
    for gone in before.env.keys() {
        wanted.remove(gone);
        wanted.extend(image.env.get_key_value(gone).map(|(key, value)| (key.clone(), value.clone())));
    }
    wanted.extend(now.env.clone());
    if wanted == present { Ok(()) } else { container.replace_env(wanted, stop_timeout) }
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

/// Unless `is_whole`, a link may lead elsewhere than `before` says.
fn apply_rules(
    container: &Container,
    before: &ContainerSection,
    now: &ContainerSection,
    is_whole: bool,
) -> Result<(), Error> {
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
        if !is_whole || before.links.get(service) != Some(provider) || !policy.links.contains_key(service) {
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
