//! Files that a container sees over its image's at each start: rendered to its run directory and bind-mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{RuntimeError, error::host_error};
use crate::{
    Paths,
    network::{PoolSettings, Reservation},
    record::ContainerRecord,
    skeleton::{self, Phase, SkeletonContext},
    state::{Durability, create_directory, replace},
};

/// Where a host with systemd-resolved keeps the resolvers that are reachable from outside it.
const UPSTREAM_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Writes the files below `directory`; gives their paths on the host and inside (without the leading `/`).
pub(super) fn render(
    paths: &Paths,
    container: &ContainerRecord,
    reservation: &Reservation,
    settings: &PoolSettings,
    directory: &Path,
) -> Result<Vec<(PathBuf, PathBuf)>, RuntimeError> {
    let below = directory.join("skeleton");
    create_directory(&below, 0o711).map_err(host_error("create", &below))?;
    let mut files = Vec::new();
    let context = SkeletonContext::new(reservation, settings, &container.hostname);
    for (index, file) in skeleton::render(paths, Phase::Start, &context)?.into_iter().enumerate() {
        let path = below.join(index.to_string());
        replace(&path, &file.bytes, file.mode, Durability::Volatile).map_err(host_error("write", &path))?;
        files.push((path, file.path));
    }
    if !files.iter().any(|(_, inside)| inside == Path::new("etc/resolv.conf")) {
        let path = below.join("resolv.conf");
        let text = [UPSTREAM_RESOLV_CONF, "/etc/resolv.conf"].iter().find_map(|host| fs::read(host).ok());
        replace(&path, &text.unwrap_or_default(), 0o644, Durability::Volatile).map_err(host_error("write", &path))?;
        files.push((path, "etc/resolv.conf".into()));
    }
    Ok(files)
}
