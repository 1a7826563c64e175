//! Files that a container sees over its image's at each start: rendered to its run directory and bind-mounted.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use appcontainers_sys::mount;

use super::{RuntimeError, error::host_error};
use crate::{
    Paths,
    network::{
        PoolSettings, Reservation, find,
        policy::{compose_hosts, rebase_hosts},
    },
    record::ContainerRecord,
    skeleton::{self, Phase, SkeletonContext},
    state::{Durability, create_directory, replace},
};

/// Where a host with systemd-resolved keeps the resolvers that are reachable from outside it.
const UPSTREAM_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// The names that a container knows: what others it may reach follows the rules while it runs.
const HOSTS: &str = "etc/hosts";

/// A file's path on the host, and inside (without the leading `/`).
pub(super) type StartFile = (PathBuf, PathBuf);

/// Writes the files below `directory`.
pub(super) fn render(
    paths: &Paths,
    container: &ContainerRecord,
    reservation: &Reservation,
    settings: &PoolSettings,
    directory: &Path,
) -> Result<Vec<StartFile>, RuntimeError> {
    let below = directory.join("skeleton");
    create_directory(&below, 0o711).map_err(host_error("create", &below))?;
    let mut files = Vec::new();
    let context = SkeletonContext::new(reservation, settings, &container.hostname);
    for (index, file) in skeleton::render(paths, Phase::Start, &context)?.into_iter().enumerate() {
        let (path, bytes) = if file.path == Path::new(HOSTS) {
            let path = below.join("hosts");
            let bytes =
                compose_hosts(paths, &container.name, &path, &file.bytes).map_err(host_error("write", &path))?;
            (path, bytes)
        } else {
            (below.join(index.to_string()), file.bytes)
        };
        replace(&path, &bytes, file.mode, Durability::Volatile).map_err(host_error("write", &path))?;
        files.push((path, file.path));
    }
    if !files.iter().any(|(_, inside)| inside == Path::new("etc/resolv.conf")) {
        let path = below.join("resolv.conf");
        replace(&path, &resolv_conf().unwrap_or_default(), 0o644, Durability::Volatile)
            .map_err(host_error("write", &path))?;
        files.push((path, "etc/resolv.conf".into()));
    }
    Ok(files)
}

/// The host's resolvers, as containers get them.
pub(crate) fn resolv_conf() -> Option<Vec<u8>> {
    [UPSTREAM_RESOLV_CONF, "/etc/resolv.conf"].iter().find_map(|host| fs::read(host).ok())
}

/// Renders the names that a running container knows anew, in the file that it sees.
pub(crate) fn rewrite_hosts(paths: &Paths, container: &ContainerRecord) -> Result<(), RuntimeError> {
    let (settings, reservation) = find(paths, &container.name)?;
    let Some(reservation) = reservation else { return Ok(()) };
    let context = SkeletonContext::new(&reservation, &settings, &container.hostname);
    let mut files = skeleton::render(paths, Phase::Start, &context)?.into_iter();
    if let Some(file) = files.find(|file| file.path == Path::new(HOSTS)) {
        rebase_hosts(paths, &container.name, &file.bytes).map_err(host_error("write", HOSTS))?;
    }
    Ok(())
}

/// Shows the files over what the image, mounted at `root`, has in their places; gives those for which it has none. LXC
/// would show all of them, but none over a symbolic link, as images of hosts with systemd-resolved have for
/// `/etc/resolv.conf`.
pub(super) fn show(mut files: Vec<StartFile>, root: &Path) -> Result<Vec<StartFile>, RuntimeError> {
    let below = File::open(root).map_err(host_error("open", root))?;
    files.retain(|(path, inside)| match mount::cover(path, below.as_fd(), inside) {
        Ok(is_shown) => !is_shown,
        Err(error) => {
            // A container starts with whatever lies there.
            tracing::warn!(inside = %inside.display(), %error, "cannot show a file over what the image has there");
            false
        }
    });
    Ok(files)
}
