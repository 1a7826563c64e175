//! When a container gets its secrets, seen from whoever starts it or changes what it is given.

use std::process::{Command, Stdio};

use super::{
    KEY_VARIABLES, SecretError, SecretGrant,
    error::failed,
    place::{DeliveredSecret, MAX_GRANTS, Place},
    store,
};
use crate::{
    ContainerName, Paths, error::chain, record::ContainerRecord, runtime::programs, settings::Settings,
    state::SecretsLock,
};

/// Whether a container may be given all these: they are there, and are not in each other's way.
pub(crate) fn check(paths: &Paths, grants: &[SecretGrant]) -> Result<(), SecretError> {
    if grants.len() > MAX_GRANTS {
        return Err(SecretError::TooMany { limit: MAX_GRANTS });
    }
    for (index, grant) in grants.iter().enumerate() {
        store::find(paths, &grant.name)?;
        for other in &grants[..index] {
            if other.name == grant.name {
                return Err(SecretError::Twice { name: grant.name.clone() });
            }
            let (one, two) = (other.path.as_path(), grant.path.as_path());
            if one.starts_with(two) || two.starts_with(one) {
                return Err(SecretError::SamePlace { path: grant.path.clone() });
            }
        }
    }
    Ok(())
}

/// Keeps the secrets that are given there, while a configuration is written that gives them. None for one that gives none.
pub(crate) fn granting(paths: &Paths, settings: &Settings) -> Result<Option<SecretsLock>, SecretError> {
    if settings.secrets.is_empty() {
        return Ok(None);
    }
    let lock = SecretsLock::acquire(paths)?;
    check(paths, &settings.secrets)?;
    Ok(Some(lock))
}

/// Mounts the place for the secrets of a container that is about to start. In the host's mount namespace, so that all that comes
/// after the start finds it, whoever started it.
pub(crate) fn prepare(paths: &Paths, record: &ContainerRecord) -> Result<(), SecretError> {
    if record.settings.secrets.is_empty() { Ok(()) } else { Place::make(paths, &record.name).map(drop) }
}

/// Gives a running container its secrets, in a process of its own.
pub fn deliver_apart(paths: &Paths, name: &ContainerName) -> Result<(), SecretError> {
    let program = programs::monitor()?;
    let mut command = Command::new(&program);
    command.args(["secrets", name.as_str()]).env_clear();
    command.env("APPC_ROOT", paths.root()).env("APPC_RUN", paths.run());
    for passed in ["APPC_LIBEXEC"].into_iter().chain(KEY_VARIABLES) {
        if let Some(value) = std::env::var_os(passed) {
            command.env(passed, value);
        }
    }
    let done = command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).output();
    let done = done.map_err(failed("run", &program))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    let said = if said.is_empty() { format!("{} ended with {}", program.display(), done.status) } else { said };
    Err(SecretError::NotDelivered { container: name.clone(), said })
}

/// Gives a running container what a command that was killed meant to give it or take from it. What fails is told by a warning: it is
/// not what the caller is about.
pub fn catch_up(paths: &Paths, name: &ContainerName) {
    let stale = is_stale(paths, name);
    if let Err(error) = stale.and_then(|stale| if stale { deliver_apart(paths, name) } else { Ok(()) }) {
        tracing::warn!(%name, "{}", chain(&error));
    }
}

fn is_stale(paths: &Paths, name: &ContainerName) -> Result<bool, SecretError> {
    let Some(record) = ContainerRecord::load(paths, name)? else { return Ok(false) };
    let grants = &record.settings.secrets;
    let Some(place) = Place::find(paths, name)? else { return Ok(!grants.is_empty()) };
    let mut wanted = Vec::with_capacity(grants.len());
    for grant in grants {
        wanted.push(DeliveredSecret { grant: grant.clone(), stamp: store::stamp(paths, &grant.name)? });
    }
    Ok(place.delivered().secrets != wanted)
}
