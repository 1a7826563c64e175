//! The files of a container's cgroup, which is a directory in each of the host's hierarchies. A file's name tells version and
//! controller, so it is the same file in whichever of them it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::LimitError;
use crate::{
    limits::{Key, LimitChange},
    runtime::cgroup,
};

/// The time in which [`Key::Cpus`] is given, in microseconds: the kernel's default.
pub(super) const CPU_PERIOD_US: u64 = 100_000;

/// A container's cgroup.
pub(super) struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    pub(super) fn of(name: &str) -> Self {
        Self { directories: cgroup::directories(name) }
    }

    /// Where the file of this name is.
    pub(super) fn find(&self, file: &str) -> Option<PathBuf> {
        self.directories.iter().map(|directory| directory.join(file)).find(|path| path.exists())
    }

    /// What is in the file of this name, without the line's end.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.find(file)?).ok().map(|text| text.trim().to_owned())
    }

    /// A number in the file of this name.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.parse().ok()
    }

    /// The first of these files that is there; none, for a limit that is taken away where there is nothing to limit with.
    pub(super) fn first(&self, limit: &LimitChange, files: &[&str]) -> Result<Option<PathBuf>, LimitError> {
        match files.iter().find_map(|file| self.find(file)) {
            None if !limit.is_removal() => Err(no_controller(limit.key())),
            found => Ok(found),
        }
    }
}

/// For a limit whose file is not there.
pub(super) fn no_controller(key: Key) -> LimitError {
    LimitError::NoController { key, controller: controller(key).unwrap_or("?") }
}

/// The controller that has a limit's files, of version 2; none if no controller has.
pub(super) fn controller(key: Key) -> Option<&'static str> {
    match key {
        Key::Memory => Some("memory"),
        Key::Cpus => Some("cpu"),
        Key::Cpuset => Some("cpuset"),
        Key::Pids => Some("pids"),
        Key::IoRead | Key::IoWrite => Some("io"),
        Key::NetEgress | Key::NetIngress | Key::Nofile => None,
    }
}

/// Writes a limit's file.
pub(super) fn write(limit: &LimitChange, path: &Path, value: &str) -> Result<(), LimitError> {
    // Written in one piece, also where that is nothing but a line's end: the kernel sees no empty write.
    let refused = |source| LimitError::Refused { limit: limit.clone(), path: path.to_owned(), source };
    fs::write(path, format!("{value}\n")).map_err(refused)
}

/// Whether the kernel has refused because something is in use.
pub(super) fn is_busy(error: &LimitError) -> bool {
    matches!(error, LimitError::Refused { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
}
