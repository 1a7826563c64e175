//! The gateway follows the containers: their names, addresses and ends.
//!
//! Nothing that is done to a container fails because of the gateway: what could not be brought to Caddy is said as a warning, and
//! the next change brings it.

use super::{GatewayError, Sites, apply};
use crate::{ContainerName, Paths, error::chain, state::GatewayLock};

/// Brings a running gateway in line with what is published and with the containers' present addresses. Where nothing is published,
/// this is one look for a file; where nothing has changed, Caddy is not asked.
///
/// For whoever has changed an address. A container's removal and renaming do so by themselves.
pub fn refresh(paths: &Paths) -> Result<(), GatewayError> {
    if !Sites::is_any(paths) {
        return Ok(());
    }
    let lock = GatewayLock::acquire(paths)?;
    apply(paths, &lock, &Sites::read(paths)?).map(drop)
}

/// Before a container gives its address back: nobody is sent there any more.
pub(crate) fn forget(paths: &Paths, container: &ContainerName) {
    change(paths, container, |sites| sites.forget(container));
}

/// A container has another name.
pub(crate) fn rename(paths: &Paths, old: &ContainerName, new: &ContainerName) {
    change(paths, old, |sites| sites.rename(old, new));
}

fn change(paths: &Paths, container: &ContainerName, change: impl Fn(&mut Sites) -> bool) {
    if let Err(error) = try_change(paths, change) {
        tracing::warn!(%container, error = chain(&error), "the gateway cannot follow; `appc gateway reload` tries again");
    }
}

fn try_change(paths: &Paths, change: impl Fn(&mut Sites) -> bool) -> Result<(), GatewayError> {
    // Most containers are not published: those wait for nobody.
    if !Sites::is_any(paths) || !change(&mut Sites::read(paths)?) {
        return Ok(());
    }
    let lock = GatewayLock::acquire(paths)?;
    let mut sites = Sites::read(paths)?;
    change(&mut sites);
    // First of all it is kept: another container may have this name tomorrow.
    sites.store(paths)?;
    apply(paths, &lock, &sites).map(drop)
}
