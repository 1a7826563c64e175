//! Whether this host can keep limits: looked at before anything is changed.

use std::{fs, path::Path};

use super::{
    Disk, LimitError, disk,
    group::{controller, no_controller},
    open_files::most as most_open_files,
};
use crate::{
    Paths,
    limits::{CpuSet, Key, Limits},
    runtime::cgroup::{hierarchies, unified},
};

/// An error if a container could not be started with these limits.
pub(crate) fn check(paths: &Paths, limits: &Limits) -> Result<(), LimitError> {
    limits.check()?;
    if let (Some(asked), Some(there)) = (&limits.cpuset, processors())
        && let Some(missing) = asked.beyond(&there)
    {
        return Err(LimitError::NoProcessor { asked: asked.clone(), missing, there });
    }
    if let Some(asked) = limits.nofile
        && asked > most_open_files()
    {
        return Err(LimitError::TooManyFiles { asked, most: most_open_files() });
    }
    for key in limits.set().map(|limit| limit.key()) {
        if controller(key).is_some_and(|controller| !has_controller(key, controller)) {
            return Err(no_controller(key));
        }
    }
    disk_of(paths, limits).map(drop)
}

/// The disk whose input and output is limited; none if it is not.
pub(in crate::runtime) fn disk_of(paths: &Paths, limits: &Limits) -> Result<Option<Disk>, LimitError> {
    let is_limited = limits.io.read.is_some() || limits.io.write.is_some();
    is_limited.then(|| Disk::of(&disk::existing(paths.root()))).transpose()
}

/// Those that the kernel runs programs on.
fn processors() -> Option<CpuSet> {
    fs::read_to_string("/sys/devices/system/cpu/online").ok()?.parse().ok()
}

fn has_controller(key: Key, name: &str) -> bool {
    let there = fs::read_to_string(unified().join("cgroup.controllers")).unwrap_or_default();
    if there.split_whitespace().any(|one| one == name) {
        return true;
    }
    // A hierarchy of version 1 is known by the files in it, whatever its directory is called.
    hierarchies().iter().any(|root| root.join(file_of_version_1(key)).exists() || is_below(root, key))
}

/// A file that every cgroup of version 1 has which the limit's controller is in.
fn file_of_version_1(key: Key) -> &'static str {
    match key {
        Key::Memory => "memory.limit_in_bytes",
        Key::Cpus => "cpu.cfs_quota_us",
        Key::Cpuset => "cpuset.cpus",
        // Not in a root.
        Key::Pids => "pids.max",
        Key::IoRead | Key::IoWrite => disk::file_of_version_1(true),
        Key::NetEgress | Key::NetIngress | Key::Nofile => "",
    }
}

/// Some files are in no root, so the root of such a hierarchy has only its name.
fn is_below(root: &Path, key: Key) -> bool {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    matches!(key, Key::Pids | Key::Cpus) && name.split(',').any(|one| Some(one) == controller(key))
}
