//! Mounting volumes and the host's directories and files into a container, and taking them out of it, also while it runs.
//!
//! ```text
//! settings say it -> (running) what is mounted follows, each noted in the run directory
//! ```
//! A command that is killed in between leaves settings that the next command makes the container follow.

use serde_json::Value;

use super::Container;
use crate::{
    ContainerName, Error, Mount, Paths,
    error::chain,
    event,
    mounts::{self, MountError, MountPath, MountSource},
    record::ContainerRecord,
    runtime::{self, StartRecord, Status},
    volume::{self, VolumeHold},
};

impl Container {
    /// Mounts a volume, or a file or directory of the host's, into the container: at once if it runs, and at each start from now
    /// on. Owners are the container's own. What is missing of the path is made, and no symbolic link on it is followed.
    pub fn mount(&self, mount: Mount) -> Result<(), Error> {
        let mount = mount.resolved()?;
        let lock = self.lock()?;
        let mut record = self.record()?;
        // Nobody removes the volume meanwhile.
        let _hold = hold(&self.paths, &mount)?;
        let is_running = self.status()? == Status::Running;
        if let Some(other) = in_the_way(&record.settings.mounts, &mount, is_running) {
            let (name, path) = (self.name.clone(), mount.path.clone());
            return Err(MountError::Taken { name, path, other }.into());
        }
        record.settings.mounts.push(mount.clone());
        mounts::check_all(&self.name, &record.settings.mounts)?;
        record.store(&self.paths)?;
        if let Err(error) = self.follow_mounts(&record) {
            record.settings.mounts.retain(|one| one.path != mount.path);
            record.store(&self.paths)?;
            return Err(error);
        }
        drop(lock);
        self.note_mount(&mount, "volume-attach", "mount");
        Ok(())
    }

    /// Takes out what is mounted at a path. In a container that runs, what is open there stays open to who has it.
    pub fn unmount(&self, path: &MountPath) -> Result<(), Error> {
        self.unmount_where(|mount| mount.path == *path).and_then(|found| match found {
            true => Ok(()),
            false => Err(MountError::NotMounted { name: self.name.clone(), path: path.clone() }.into()),
        })
    }

    /// Takes a volume out of the container, wherever it is mounted. False if it is not.
    pub fn detach_volume(&self, volume: &crate::VolumeName) -> Result<bool, Error> {
        self.unmount_where(|mount| mount.volume_name() == Some(volume))
    }

    fn unmount_where(&self, is_meant: impl Fn(&Mount) -> bool) -> Result<bool, Error> {
        let _lock = self.lock()?;
        let mut record = self.record()?;
        let before = record.settings.mounts.clone();
        let (gone, left): (Vec<_>, Vec<_>) = before.iter().cloned().partition(is_meant);
        if gone.is_empty() {
            return Ok(false);
        }
        let running = self.status()? == Status::Running;
        let is_below = |one: &Mount| gone.iter().find(|mount| below(one.path.as_str(), mount.path.as_str()));
        if let Some((one, mount)) = left.iter().filter(|_| running).find_map(|one| Some((one, is_below(one)?))) {
            let (path, other) = (mount.path.clone(), one.path.clone());
            return Err(MountError::Taken { name: self.name.clone(), path, other }.into());
        }
        record.settings.mounts = left;
        record.store(&self.paths)?;
        if let Err(error) = self.follow_mounts(&record) {
            record.settings.mounts = before;
            record.store(&self.paths)?;
            return Err(error);
        }
        for mount in gone {
            self.note_mount(&mount, "volume-detach", "unmount");
        }
        Ok(true)
    }

    /// Makes what is mounted what the settings say, if the container runs.
    fn follow_mounts(&self, record: &ContainerRecord) -> Result<(), Error> {
        if let Some(start) =
            StartRecord::load(&self.paths, &self.name)?.filter(|start| start.status() == Status::Running)
        {
            runtime::follow_mounts(&self.paths, &self.name, &start, !record.privileged, &record.settings.mounts)?;
        }
        Ok(())
    }

    fn note_mount(&self, mount: &Mount, of_volume: &str, of_bind: &str) {
        let path = ("path", Value::from(mount.path.as_str()));
        match &mount.source {
            MountSource::Volume(name) => {
                event::note(&self.paths, &self.name, of_volume, &[("volume", Value::from(name.as_str())), path]);
            }
            MountSource::Bind(source) => {
                let source = Value::from(source.to_string_lossy().into_owned());
                event::note(&self.paths, &self.name, of_bind, &[("source", source), path]);
            }
        }
    }
}

/// Completes what a command that was killed began, in a container that runs. The caller has its lock.
pub(super) fn complete(paths: &Paths, name: &ContainerName) -> Result<(), Error> {
    let Some(start) = StartRecord::load(paths, name)?.filter(|start| start.status() == Status::Running) else {
        return Ok(());
    };
    let Some(record) = ContainerRecord::load(paths, name)? else { return Ok(()) };
    if let Err(error) = runtime::follow_mounts(paths, name, &start, !record.privileged, &record.settings.mounts) {
        tracing::warn!("{}", chain(&error));
    }
    Ok(())
}

/// The mounts of a new container as they are kept, and what keeps their volumes until its settings name them.
pub(super) fn prepare(
    paths: &Paths,
    name: &ContainerName,
    asked: &[Mount],
) -> Result<(Vec<Mount>, Vec<VolumeHold>), Error> {
    let kept = asked.iter().cloned().map(Mount::resolved).collect::<Result<Vec<_>, _>>()?;
    mounts::check_all(name, &kept)?;
    let holds = kept.iter().map(|mount| hold(paths, mount)).collect::<Result<Vec<_>, _>>()?;
    Ok((kept, holds.into_iter().flatten().collect()))
}

fn hold(paths: &Paths, mount: &Mount) -> Result<Option<VolumeHold>, Error> {
    let Some(volume) = mount.volume_name() else { return Ok(None) };
    volume::check(paths, volume)?;
    let failed = crate::error::io_error("lock", paths.volumes().join(volume.as_str()));
    VolumeHold::shared(paths, volume).map(Some).map_err(failed)
}

/// A mount at the same place, or one below it that a container which runs would not see any more.
fn in_the_way(mounts: &[Mount], new: &Mount, is_running: bool) -> Option<MountPath> {
    let is_hidden = |path: &str| is_running && below(path, new.path.as_str());
    let mut paths = mounts.iter().map(|mount| &mount.path);
    paths.find(|path| **path == new.path || is_hidden(path.as_str())).cloned()
}

/// Whether a path is really below another one.
fn below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}
