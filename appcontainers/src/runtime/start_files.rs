//! Files that a container sees over its image's at each start: rendered to its run directory and bind-mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{RuntimeError, error::host_error};
use crate::{
    Paths,
    container::ContainerRecord,
    network::{PoolSettings, Reservation},
    state::{Durability, create_directory, replace},
};

/// Where a host with systemd-resolved keeps the resolvers that are reachable from outside it.
const UPSTREAM_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Writes the files below `directory`; gives their paths on the host and inside (without the leading `/`).
pub(super) fn render(
    _paths: &Paths,
    _container: &ContainerRecord,
    _reservation: &Reservation,
    _settings: &PoolSettings,
    directory: &Path,
) -> Result<Vec<(PathBuf, String)>, RuntimeError> {
    let below = directory.join("skeleton");
    create_directory(&below, 0o711).map_err(host_error("create", &below))?;
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    if !files.iter().any(|(_, inside)| inside == "etc/resolv.conf") {
        let path = below.join("resolv.conf");
        let text = [UPSTREAM_RESOLV_CONF, "/etc/resolv.conf"].iter().find_map(|host| fs::read(host).ok());
        replace(&path, &text.unwrap_or_default(), 0o644, Durability::Volatile).map_err(host_error("write", &path))?;
        files.push((path, "etc/resolv.conf".to_owned()));
    }
    Ok(files)
}
