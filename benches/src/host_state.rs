//! What no namespace keeps the peers from leaving behind: cgroups, and a changed /dev/null.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

const NULL: &str = "/dev/null";

/// The host before a run. Restored when dropped.
#[derive(Debug)]
pub(crate) struct HostState {
    cgroups: BTreeSet<PathBuf>,
    null: fs::Metadata,
}

impl HostState {
    pub(crate) fn record() -> io::Result<Self> {
        Ok(Self { cgroups: cgroups(), null: fs::metadata(NULL)? })
    }

    /// crun and runc have been seen to give the host's /dev/null to a container's root.
    fn restore_null(&self) -> io::Result<()> {
        let now = fs::metadata(NULL)?;
        let state = |null: &fs::Metadata| (null.uid(), null.gid(), null.mode());
        if state(&now) != state(&self.null) {
            eprintln!("restoring the owner and mode of {NULL}, which a peer has changed");
            chown(NULL, Some(self.null.uid()), Some(self.null.gid()))?;
            fs::set_permissions(NULL, fs::Permissions::from_mode(self.null.mode() & 0o7777))?;
        }
        Ok(())
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        if let Err(error) = self.restore_null() {
            eprintln!("cannot restore {NULL}: {error}");
        }
        // Only the peers': others on this host may be making theirs just now.
        for new in cgroups().difference(&self.cgroups) {
            remove_empty(new);
        }
    }
}

/// Cgroups of podman, and of LXC and LXD, below the root of each hierarchy.
fn cgroups() -> BTreeSet<PathBuf> {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(children(&roots[0]));
    let of_peers = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libpod") || name.starts_with("lxc.")
    };
    roots.iter().flat_map(|root| children(root)).filter(of_peers).collect()
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// One that has processes stays.
fn remove_empty(cgroup: &Path) {
    for child in children(cgroup) {
        remove_empty(&child);
    }
    let _ = fs::remove_dir(cgroup);
}
