//! What nothing refers to any more, and its removal.
//!
//! Commands that were killed leave parts of containers, layers without a name, temporary files, mounts and cgroups.
//! Whatever a command may be working on is left alone: it holds the container's lock, or the layers'.

use std::{
    collections::HashSet,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::Service;
use crate::{
    ContainerName, Error,
    build::{self, BuildCache},
    container, disk,
    error::io_error,
    image::Digest,
    network::Reservations,
    output::gone,
    record::ContainerRecord,
    runtime::{self, StartRecord, cgroup},
    state::ContainerLock,
};

/// A temporary file that is older belongs to no command that still runs, whatever its pid says.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Something that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it is.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// How much room it takes.
    pub bytes: u64,
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Service {
    /// Removes what nothing refers to and says what that was; with `dry_run`, says it only. What builds remember goes when no
    /// build has needed it for 30 days.
    pub fn gc(&self, dry_run: bool) -> Result<Vec<Garbage>, Error> {
        self.gc_but_for(build::UNUSED_FOR, dry_run)
    }

    /// As [`Service::gc`]; builds start from nothing afterwards, however short ago what they remember was of use.
    pub fn gc_with_build_cache(&self, dry_run: bool) -> Result<Vec<Garbage>, Error> {
        self.gc_but_for(Duration::ZERO, dry_run)
    }

    fn gc_but_for(&self, unused_steps: Duration, dry_run: bool) -> Result<Vec<Garbage>, Error> {
        let mut garbage = build::sweep(&self.paths, dry_run)?;
        self.collect_containers(dry_run, &mut garbage)?;
        self.collect_cgroups(dry_run, &mut garbage)?;
        self.collect_layers(dry_run, unused_steps, &mut garbage)?;
        self.collect_temporary_files(dry_run, &mut garbage)?;
        Ok(garbage)
    }

    /// Names under which anything of a container is there, sorted.
    pub(super) fn names(&self) -> Result<Vec<ContainerName>, Error> {
        let mut names: HashSet<ContainerName> = HashSet::new();
        let reserved = match Reservations::read(&self.paths) {
            Ok(reservations) => reservations.list().iter().map(|reservation| reservation.name.clone()).collect(),
            Err(_) if !self.paths.resources().exists() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        names.extend(reserved);
        for directory in [
            self.paths.containers(),
            self.paths.raw_overlays(),
            self.paths.tmp_overlays(),
            self.paths.run().join("containers"),
        ] {
            let entries = entries(&directory)?.into_iter();
            names.extend(entries.filter_map(|path| path.file_name()?.to_str()?.parse::<ContainerName>().ok()));
        }
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        Ok(names)
    }

    /// Names under which anything of a container is left, that has no configuration.
    fn collect_containers(&self, dry_run: bool, garbage: &mut Vec<Garbage>) -> Result<(), Error> {
        let names = self.names()?;
        for gone in entries(&self.paths.containers())? {
            let name = gone.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(gone::PREFIX) {
                let bytes = disk::usage(&gone);
                if dry_run || gone::delete_unless_read(&gone).map_err(io_error("remove", &gone))? {
                    garbage.push(Garbage { kind: "removed container", name, bytes });
                }
            }
        }
        for layer in runtime::discarded(&self.paths) {
            let name = layer.file_name().unwrap_or_default().to_string_lossy().into_owned();
            garbage.push(Garbage { kind: "removed layer", name, bytes: disk::usage(&layer) });
            if !dry_run {
                runtime::remove_tree(&layer)?;
            }
        }
        for name in names {
            let Some(lock) = ContainerLock::try_acquire(&self.paths, &name)? else { continue };
            match ContainerRecord::load(&self.paths, &name)? {
                Some(record) if !runtime::is_gone(&self.paths, &record)? => {
                    for (kind, path) in container::half_done(&self.paths, &name) {
                        garbage.push(Garbage { kind, name: path.display().to_string(), bytes: disk::usage(&path) });
                    }
                    if !dry_run {
                        container::recover(&self.paths, &lock)?;
                    }
                    continue;
                }
                Some(_) => {}
                None if container::is_orphan(&self.paths, &lock)? => {}
                None => continue,
            }
            let bytes = disk::usage(&self.paths.container(&name))
                + disk::usage(&self.paths.raw_overlays().join(name.as_str()))
                + disk::usage(&self.paths.tmp_overlays().join(name.as_str()));
            garbage.push(Garbage { kind: "container", name: name.to_string(), bytes });
            if !dry_run {
                container::recover(&self.paths, &lock)?;
                runtime::remove(&self.paths, &lock)?;
            }
        }
        Ok(())
    }

    /// Cgroups of starts that are over.
    fn collect_cgroups(&self, dry_run: bool, garbage: &mut Vec<Garbage>) -> Result<(), Error> {
        let parent = cgroup::parent(&self.paths);
        let mut found = HashSet::new();
        for directory in cgroup::directories(&parent) {
            let names = entries(&directory)?.into_iter().filter(|path| path.is_dir());
            found.extend(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
        }
        for start in found {
            let cgroup = format!("{parent}/{start}");
            let Some((name, _)) = start.rsplit_once('.') else { continue };
            let Ok(name) = name.parse::<ContainerName>() else { continue };
            let current = StartRecord::load(&self.paths, &name)?.is_some_and(|record| record.cgroup == cgroup);
            // LXC's monitor lives a little longer than the container, and its reaper removes the cgroup then.
            if current || !cgroup::processes(&cgroup).is_empty() {
                continue;
            }
            garbage.push(Garbage { kind: "cgroup", name: cgroup.clone(), bytes: 0 });
            if !dry_run {
                cgroup::destroy(&cgroup).map_err(io_error("remove cgroup", &cgroup))?;
            }
        }
        Ok(())
    }

    /// Layers that no image and no container has, and mounts of layers that no container has.
    fn collect_layers(&self, dry_run: bool, unused_steps: Duration, garbage: &mut Vec<Garbage>) -> Result<(), Error> {
        let path = self.paths.layers();
        let directory = match fs::File::open(&path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // A command that loads, saves or makes a container has layers that nothing refers to yet.
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            Err(errno) => return Err(io_error("lock", &path)(errno.into())),
        }
        let of_containers: HashSet<Digest> = self.records()?.into_iter().flat_map(|record| record.layers).collect();
        let cache = BuildCache::new(&self.paths);
        garbage.extend(cache.forget(unused_steps, dry_run)?);
        let (used, store) = (self.referenced_layers(unused_steps)?, self.store());
        for mount_point in entries(&self.paths.layer_mounts())? {
            let hex = mount_point.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(digest) = format!("sha256:{hex}").parse() else { continue };
            if of_containers.contains(&digest) {
                continue;
            }
            let name = mount_point.display().to_string();
            if dry_run || runtime::unmount_layer(&self.paths, &digest).map_err(io_error("unmount", &mount_point))? {
                garbage.push(Garbage { kind: "mount", name, bytes: 0 });
            }
        }
        for layer in store.layers()? {
            if used.contains(&layer.digest) {
                continue;
            }
            garbage.push(Garbage { kind: "layer", name: layer.digest.to_string(), bytes: layer.size_bytes });
            if !dry_run {
                store.remove_layer(&layer.digest)?;
            }
        }
        Ok(())
    }

    /// Temporary files of commands that were killed.
    fn collect_temporary_files(&self, dry_run: bool, garbage: &mut Vec<Garbage>) -> Result<(), Error> {
        let mut directories = vec![
            self.paths.root().to_owned(),
            self.paths.bases(),
            self.paths.user_images(),
            self.paths.layers(),
            self.paths.sessions(),
            self.paths.build_cache(),
            self.paths.secrets(),
            self.paths.volumes(),
        ];
        for volume in entries(&self.paths.volumes())? {
            directories.extend([volume.join("snapshots"), volume]);
        }
        directories.extend(entries(&self.paths.containers())?);
        for path in directories.iter().map(|directory| entries(directory)).collect::<Result<Vec<_>, _>>()?.concat() {
            if !is_stale_temporary(&path) {
                continue;
            }
            garbage.push(Garbage {
                kind: "temporary file",
                name: path.display().to_string(),
                bytes: disk::usage(&path),
            });
            if !dry_run {
                runtime::remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether a file is named as [`crate::state`] names temporaries, `.NAME.PID-N.tmp`, and its writer is gone.
fn is_stale_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(stem) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")) else { return false };
    let pid = stem.rsplit_once('.').and_then(|(_, end)| end.split_once('-')).map(|(pid, _)| pid);
    let lives = pid.is_some_and(|pid| !pid.is_empty() && Path::new("/proc").join(pid).exists());
    let age = fs::symlink_metadata(path).and_then(|status| status.modified());
    let is_old = age.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > STALE));
    !lives || is_old
}

/// What is in a directory; nothing if there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(io_error("list", directory)(error)),
    }
}
