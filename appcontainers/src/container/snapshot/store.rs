//! `containers/NAME/snapshots`: one directory for each snapshot of a container, whole or not there.
//!
//! ```text
//! snapshots/NAME/upper            the writable layer, as it was
//! snapshots/NAME/container.json   the configuration, as it was
//! snapshots/NAME/snapshot.json    when it was made, and what has to be in it
//! snapshots/.new                  one that is being made; it gets its name when all of it is there
//! snapshots/.gone                 one that is being removed
//! ```
//! They lie in the container's directory, so they are renamed and removed with it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};

use crate::{
    ContainerName, Error, Paths, SnapshotName,
    error::{chain, io_error},
    image::Digest,
    network::IdRange,
    overlay::Contents,
    record::ContainerRecord,
    runtime::{RuntimeError, remove_tree},
    state::{Durability, StateError, Versioned, create_directory, read, write},
};

const NEW: &str = ".new";
const GONE: &str = ".gone";

/// `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::container) struct SnapshotRecord {
    pub(in crate::container) created: Timestamp,
    /// Its name was made up, so it may be removed when there are more of them than are to be kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::container) automatic: bool,
    /// The ids that the files belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::container) id_range: Option<IdRange>,
    pub(in crate::container) contents: Contents,
}

impl Versioned for SnapshotRecord {
    const KIND: &'static str = "record of a snapshot";
    const MEND: &'static str = "restore it from a backup, or remove the snapshot: appc snapshot rm NAME SNAPSHOT";
    const VERSION: u32 = 1;
}

/// A snapshot that is there.
#[derive(Debug)]
pub(in crate::container) struct Stored {
    pub(in crate::container) snapshot: SnapshotRecord,
    pub(in crate::container) container: ContainerRecord,
    pub(in crate::container) upper: PathBuf,
}

impl Stored {
    pub(in crate::container) fn open(
        paths: &Paths,
        container: &ContainerName,
        name: &SnapshotName,
    ) -> Result<Self, Error> {
        let directory = directory(paths, container, name);
        if !directory.is_dir() {
            return Err(no_snapshot(container, name));
        }
        let snapshot = read_part(&directory.join("snapshot.json"))?;
        Ok(Self { snapshot, container: read_part(&directory.join("container.json"))?, upper: directory.join("upper") })
    }
}

/// A part that has to be there.
fn read_part<T: Versioned>(path: &Path) -> Result<T, StateError> {
    let missing = || StateError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    read(path)?.ok_or_else(missing)
}

/// A snapshot that is being made. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct NewSnapshot {
    /// All snapshots' directory.
    all: PathBuf,
    is_named: bool,
}

impl NewSnapshot {
    /// Begins one. The caller has the container's lock, and no name yet taken.
    pub(super) fn begin(paths: &Paths, container: &ContainerName) -> Result<Self, Error> {
        let all = paths.container_snapshots(container);
        let new = Self { all, is_named: false };
        for path in [new.all.clone(), new.directory(), new.upper()] {
            create_directory(&path, 0o700).map_err(io_error("create", &path))?;
        }
        Ok(new)
    }

    fn directory(&self) -> PathBuf {
        self.all.join(NEW)
    }

    /// An empty directory for the writable layer.
    pub(super) fn upper(&self) -> PathBuf {
        self.directory().join("upper")
    }

    /// Gives it its name, when all of it is there.
    pub(super) fn complete(
        mut self,
        name: &SnapshotName,
        snapshot: &SnapshotRecord,
        container: &ContainerRecord,
    ) -> Result<(), Error> {
        let directory = self.directory();
        write(&directory.join("container.json"), container, Durability::Volatile)?;
        write(&directory.join("snapshot.json"), snapshot, Durability::Volatile)?;
        let all = File::open(&self.all).map_err(io_error("open", &self.all))?;
        let is_kept = container.overlay.durability() == Durability::Durable;
        if is_kept {
            // At once for all files: one by one takes a journal's commit for each.
            syncfs(&all).map_err(|errno| io_error("sync", &self.all)(errno.into()))?;
        }
        fs::rename(&directory, self.all.join(name.as_str())).map_err(io_error("rename", &directory))?;
        self.is_named = true;
        if is_kept {
            all.sync_all().map_err(io_error("sync", &self.all))?;
        }
        Ok(())
    }
}

impl Drop for NewSnapshot {
    fn drop(&mut self) {
        if self.is_named {
            return;
        }
        if let Err(error) = remove_tree(&self.directory()) {
            let path = self.directory();
            tracing::warn!(path = %path.display(), %error, "cannot remove half a snapshot; the next command will");
        }
    }
}

/// Removes a snapshot, also one that can't be read: at once, then its files.
pub(super) fn remove(
    paths: &Paths,
    container: &ContainerName,
    name: &SnapshotName,
    durability: Durability,
) -> Result<(), Error> {
    let all = paths.container_snapshots(container);
    let directory = directory(paths, container, name);
    let gone = all.join(GONE);
    remove_tree(&gone)?;
    match fs::rename(&directory, &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_snapshot(container, name)),
        renamed => renamed.map_err(io_error("remove", &directory))?,
    }
    if durability == Durability::Durable {
        // Or half of it could be there again under its name after a power cut.
        File::open(&all).and_then(|all| all.sync_all()).map_err(io_error("sync", &all))?;
    }
    Ok(remove_tree(&gone)?)
}

/// The names of a container's snapshots, sorted.
pub(super) fn names(paths: &Paths, container: &ContainerName) -> Result<Vec<SnapshotName>, Error> {
    let all = paths.container_snapshots(container);
    let entries = match fs::read_dir(&all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", &all))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut names: Vec<SnapshotName> = names.collect();
    names.sort();
    Ok(names)
}

/// The directories of a container's snapshots, and of such as a killed command left (false).
pub(crate) fn directories(paths: &Paths, container: &ContainerName) -> Result<Vec<(PathBuf, bool)>, Error> {
    let whole = names(paths, container)?.into_iter().map(|name| (directory(paths, container, &name), true));
    let half = half_done(paths, container).into_iter().filter(|(_, path)| path.exists()).map(|(_, path)| (path, false));
    Ok(whole.chain(half).collect())
}

/// The layers that a container's snapshots lie on: others than its own where it has got another image since. One that can't be
/// read can't be restored.
pub(crate) fn layers(paths: &Paths, container: &ContainerName) -> Result<Vec<Digest>, Error> {
    let of = |name: &SnapshotName| {
        let path = directory(paths, container, name).join("container.json");
        read_part::<ContainerRecord>(&path).map(|record| record.layers).unwrap_or_else(|error| {
            tracing::warn!("{}", chain(&error));
            Vec::new()
        })
    };
    Ok(names(paths, container)?.iter().flat_map(of).collect())
}

/// Where a command that was killed may have left something.
pub(in crate::container) fn half_done(paths: &Paths, container: &ContainerName) -> Vec<(&'static str, PathBuf)> {
    let all = paths.container_snapshots(container);
    vec![("unfinished snapshot", all.join(NEW)), ("removed snapshot", all.join(GONE))]
}

/// Removes what a command left that was killed while it made or removed a snapshot. The caller has the container's lock.
pub(in crate::container) fn clear_up(paths: &Paths, container: &ContainerName) -> Result<(), RuntimeError> {
    if !paths.container_snapshots(container).exists() {
        return Ok(());
    }
    half_done(paths, container).iter().try_for_each(|(_, path)| remove_tree(path))
}

pub(super) fn directory(paths: &Paths, container: &ContainerName, name: &SnapshotName) -> PathBuf {
    paths.container_snapshots(container).join(name.as_str())
}

fn no_snapshot(container: &ContainerName, snapshot: &SnapshotName) -> Error {
    Error::NoSnapshot { name: container.clone(), snapshot: snapshot.clone() }
}
