//! The cgroups of a test's installation, by their names: who walks all that there are meets those of the tests beside it, which
//! vanish meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
};

use appcontainers::Paths;

use crate::Host;

/// The kernel's cgroups.
const ROOT: &str = "/sys/fs/cgroup";

impl Host {
    /// Removes all cgroups of this installation, as a reboot does; nothing may run in them.
    pub fn remove_cgroups(&self) {
        find(self.paths()).iter().for_each(|directory| remove(directory));
    }

    /// The file of this path in the cgroup of a container that runs, in each hierarchy that has it.
    pub fn cgroup_files(&self, container: &str, path: &str) -> Vec<PathBuf> {
        let start = format!("{container}.");
        let groups = find(self.paths()).into_iter().flat_map(|directory| directories(&directory));
        let groups =
            groups.filter(|group| group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)));
        groups.map(|group| group.join(path)).filter(|file| file.exists()).collect()
    }
}

/// The cgroups of the installation at `paths`: one in each hierarchy that the host has, in whichever cgroup the test itself is.
pub(crate) fn find(paths: &Paths) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find_below(Path::new(ROOT), &paths.tag(), &mut found);
    found
}

fn find_below(directory: &Path, tag: &str, found: &mut Vec<PathBuf>) {
    for entry in directories(directory) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.contains(tag) {
            found.push(entry);
        } else if !name.starts_with("appcontainers-") {
            find_below(&entry, tag, found);
        }
    }
}

/// Removes a cgroup with all below it.
pub(crate) fn remove(directory: &Path) {
    directories(directory).iter().for_each(|below| remove(below));
    let _ = fs::remove_dir(directory);
}

/// The directories in one, without links: version 1 has hierarchies with second names. What vanishes meanwhile has none.
fn directories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}
