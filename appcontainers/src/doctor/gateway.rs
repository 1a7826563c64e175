//! Whether what is published on the web can be had. Nothing is said where nothing is published.

use super::check::Check;
use crate::{
    Paths,
    error::chain,
    gateway::{self, Sites},
};

const NAME: &str = "gateway";

pub(super) fn check(paths: &Paths) -> Option<Check> {
    let sites = match Sites::read(paths) {
        Ok(sites) if sites.sites.is_empty() => return None,
        Ok(sites) => sites,
        Err(error) => return Some(Check::warning(NAME, chain(&error), "restore it from a backup, or publish anew")),
    };
    let count = sites.sites.len();
    Some(match gateway::is_served(paths, &sites) {
        Ok(true) => Check::fit(NAME, format!("runs; names published: {count}")),
        Ok(false) => Check::warning(
            NAME,
            format!("does not run, or not with all that is published; names published: {count}"),
            "systemctl enable --now appcontainers-gateway (needs the package caddy), or appc gateway reload",
        ),
        Err(error) => Check::warning(NAME, chain(&error), "appc gateway reload"),
    })
}
