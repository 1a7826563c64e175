//! Bringing the proxy in line with what is published.
//!
//! `applied.json` in the run directory is what the running Caddy has; while that is not known, it is not there. So who finds it
//! unequal to what should be, or absent, gives Caddy the configuration again, whatever was killed before. (`caddy.json` beside it is
//! what Caddy reads when it starts.)

use std::{fs, io, path::PathBuf};

use super::{GatewayError, Sites, caddy, error::step, load::load, port, process, program};
use crate::{
    Paths,
    network::Reservations,
    state::{self, Durability, GatewayLock},
};

/// Whether a change is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The gateway does so from now on.
    Live,
    /// It will when it runs.
    Stored,
}

fn applied_path(paths: &Paths) -> PathBuf {
    paths.gateway_run().join("applied.json")
}

/// Caddy's configuration for what is published, with the containers' present addresses.
pub(super) fn configuration_text(paths: &Paths, sites: &Sites) -> Result<String, GatewayError> {
    // Where nothing is set up there are no containers.
    let reservations = if sites.upstreams().next().is_some() { Some(Reservations::read(paths)?) } else { None };
    let address = |name: &_| Some(reservations.as_ref()?.get(name)?.ip);
    Ok(format!("{:#}\n", caddy::configuration(sites, address, &program::socket(paths))))
}

/// Notes what Caddy has.
pub(super) fn write_applied(paths: &Paths, configuration: &str) -> Result<(), GatewayError> {
    let path = applied_path(paths);
    state::replace(&path, configuration.as_bytes(), 0o600, Durability::Volatile).map_err(step("write", &path))
}

/// Has the gateway do what `sites` say if it runs.
pub(crate) fn apply(paths: &Paths, _lock: &GatewayLock, sites: &Sites) -> Result<Applied, GatewayError> {
    give(paths, sites, false)
}

/// As [`apply`] for a change that somebody has asked for: where no gateway runs, Caddy looks over what it would be given.
pub(crate) fn apply_checked(paths: &Paths, lock: &GatewayLock, sites: &Sites) -> Result<Applied, GatewayError> {
    let applied = apply(paths, lock, sites)?;
    if applied == Applied::Stored {
        program::validate(paths, &configuration_text(paths, sites)?)?;
    }
    Ok(applied)
}

/// As [`apply`], also where nothing has changed: certificates are read again.
pub(crate) fn reapply(paths: &Paths, _lock: &GatewayLock, sites: &Sites) -> Result<Applied, GatewayError> {
    give(paths, sites, true)
}

fn give(paths: &Paths, sites: &Sites, force: bool) -> Result<Applied, GatewayError> {
    let Some(gateway) = process::find(paths)? else { return Ok(Applied::Stored) };
    let wanted = configuration_text(paths, sites)?;
    let path = applied_path(paths);
    let before = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(step("read", path)(error)),
    };
    if before.as_ref() == Some(&wanted) && !force {
        return Ok(Applied::Live);
    }
    let ports = |text: &str| caddy::ports(&serde_json::from_str(text).unwrap_or_default());
    if let Some(before) = &before {
        port::check_free(&ports(&wanted).difference(&ports(before)).copied().collect())?;
        fs::remove_file(&path).map_err(step("remove", &path))?;
    }
    let loaded = load(&program::socket(paths), &gateway, &wanted, force);
    match (&loaded, &before) {
        (Ok(()), _) => write_applied(paths, &wanted)?,
        (Err(GatewayError::Refused { .. }), Some(before)) => write_applied(paths, before)?,
        (Err(_), _) => {}
    }
    loaded.map(|()| Applied::Live)
}

/// An error if a gateway runs.
pub(crate) fn refuse_running(paths: &Paths) -> Result<(), GatewayError> {
    process::find(paths)?.map_or(Ok(()), |process| Err(GatewayError::MustNotRun { pid: process.pid }))
}

/// Whether the gateway runs and does what `sites` say. Needs no lock: it is a look.
pub(crate) fn is_served(paths: &Paths, sites: &Sites) -> Result<bool, GatewayError> {
    if process::find(paths)?.is_none() {
        return Ok(false);
    }
    let applied = fs::read_to_string(applied_path(paths)).unwrap_or_default();
    Ok(applied == configuration_text(paths, sites)?)
}
