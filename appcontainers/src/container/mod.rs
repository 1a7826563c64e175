//! A container: its record, and what can be done with it.

mod address;
mod archive;
mod attach;
mod autostart;
mod boot_files;
mod build;
mod changes;
mod clone;
mod create;
mod details;
mod disk;
mod exec;
mod files;
mod length;
mod life;
mod lifecycle;
mod limits;
mod logs;
mod monitor;
mod mounts;
mod network;
mod pause;
mod port;
mod processes;
mod reboot;
mod rename;
mod replace;
mod restore;
mod run;
mod save;
mod secrets;
mod snapshot;
mod startup;
mod stats;

pub use archive::ArchiveSource;
pub use attach::AttachStreams;
pub use boot_files::{BootFile, BootFileError};
pub use clone::CloneOptions;
pub(crate) use create::{NewContainer, create, is_orphan};
pub(crate) use details::details;
pub use details::{AllowRule, ContainerDetails, LinkRule, NetworkRules, PublishRule};
pub use files::{FetchDestination, FetchOptions, PutOptions, PutSource, TailOptions};
pub use length::{MAX_COMMAND_BYTES, MAX_WORD_BYTES};
pub use life::{HealthDetails, LifeDetails};
pub use lifecycle::DEFAULT_STOP_TIMEOUT;
pub use limits::LimitDetails;
pub use logs::{LogPiece, LogQuery, Logs};
pub use network::{InvalidSource, Linked, Source};
pub use port::{HttpPath, InvalidHttpPath, PortFailure, PortProbe};
pub use processes::SpawnOptions;
pub(crate) use rename::complete_of as complete_renaming_of;
pub use save::{SaveOptions, Saved};
pub use snapshot::{Snapshot, SnapshotOptions};
pub(crate) use snapshot::{directories as snapshot_directories, layers as layers_of_snapshots};
pub use startup::startup_specs;

use std::path::PathBuf;

use crate::{
    ContainerName, Error, Paths,
    record::ContainerRecord,
    runtime::{self, RuntimeError, Status},
    secret,
    state::ContainerLock,
};

/// A container by name. It holds no lock: what it stands for may be changed by others between two calls.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use appcontainers::{Command, ExitStatus, Paths, Service, SpawnOptions};
///
/// let service = Service::open(Paths::from_env()?);
/// let web = service.container(&"web".parse()?)?;
/// web.start()?;
///
/// // A line for the shell, a program with its arguments, and one as somebody else.
/// web.run("echo hello > /root/greeting")?;
/// web.run(["cat", "/root/greeting"])?;
/// let command = Command { user: Some("nobody".to_owned()), ..["id", "-un"].into() };
/// assert_eq!(web.run(command)?, ExitStatus::Code(0));
///
/// // In the background, until it ends by itself.
/// let process = web.spawn("sleep 5; echo done", SpawnOptions::default())?;
/// let end = web.wait(&appcontainers::process::ProcessRef::Id(process), None)?;
/// println!("{end:?}");
/// web.stop(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Container {
    paths: Paths,
    name: ContainerName,
}

impl Container {
    /// A container that is there, also if its record can't be read: then all but its removal fails, and says that.
    pub(crate) fn open(paths: &Paths, name: &ContainerName) -> Result<Self, Error> {
        let container = Self { paths: paths.clone(), name: name.clone() };
        match ContainerRecord::load(paths, name) {
            Ok(Some(record)) if record.name == *name => {}
            Ok(_) => rename::complete_all(paths)?,
            Err(_) => return Ok(container),
        }
        if runtime::is_gone(paths, &container.record()?)? {
            return Err(RuntimeError::NoContainer { name: name.clone() }.into());
        }
        Ok(container)
    }

    /// Where the files of its installation are.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Its name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Its configuration.
    pub fn record(&self) -> Result<ContainerRecord, Error> {
        match ContainerRecord::load(&self.paths, &self.name)? {
            Some(record) => Ok(record),
            None => Err(RuntimeError::NoContainer { name: self.name.clone() }.into()),
        }
    }

    /// Excludes other commands, and finishes what an earlier one or an ended start left.
    fn lock(&self) -> Result<ContainerLock, Error> {
        let lock = self.settle()?;
        if !lock.is_current()? || ContainerRecord::load(&self.paths, &self.name)?.is_none() {
            // Where its file is, it was made for nothing.
            lock.remove()?;
            return Err(RuntimeError::NoContainer { name: self.name.clone() }.into());
        }
        Ok(lock)
    }

    /// As [`Container::lock`], also for a container that is gone: then the lock may be removed.
    fn settle(&self) -> Result<ContainerLock, Error> {
        let lock = ContainerLock::acquire(&self.paths, &self.name)?;
        recover(&self.paths, &lock)?;
        Ok(lock)
    }

    /// Changes the configuration, under the container's lock.
    fn update(&self, change: impl FnOnce(&mut ContainerRecord) -> Result<(), Error>) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut record = self.record()?;
        change(&mut record)?;
        Ok(record.store(&self.paths)?)
    }
}

/// Finishes what an earlier command, or a start that has ended, left of a container.
pub(crate) fn recover(paths: &Paths, lock: &ContainerLock) -> Result<(), Error> {
    rename::complete(paths, lock)?;
    if let Err(error) = runtime::ensure_disk(paths, lock.name()) {
        // One that can't be mounted can be removed; a start says it again, and fails.
        tracing::warn!("{}", crate::error::chain(&error));
    }
    // Whoever works on a container's files, or starts it, holds its lock: this one was left by a command that is dead.
    if runtime::status(paths, lock.name())? == Status::Busy {
        monitor::wait_abandoned(paths, lock.name())?;
        monitor::end(paths, lock)?;
    }
    restore::complete(paths, lock)?;
    snapshot::clear_up(paths, lock.name())?;
    runtime::abandon_renewal(paths, lock.name())?;
    if runtime::finish(paths, lock, None)? == Status::Running {
        secret::catch_up(paths, lock.name());
    }
    limits::complete(paths, lock)?;
    mounts::complete(paths, lock.name())?;
    crate::life::mend(paths, lock)
}

/// What a command that was killed left of a container which is there, and [`recover`] brings to its end or removes: kind and place.
pub(crate) fn half_done(paths: &Paths, name: &ContainerName) -> Vec<(&'static str, PathBuf)> {
    let mut found = snapshot::half_done(paths, name);
    found.push(("unfinished restore", restore::path(paths, name)));
    found.extend(runtime::renewals(paths, name).map(|path| ("unfinished writable layer", path)));
    found.retain(|(_, path)| path.exists());
    found
}
