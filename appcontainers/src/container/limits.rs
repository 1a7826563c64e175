//! What a container may use of the host: as it was asked for, as it is, and other limits, also while it runs.
//!
//! A change of a container that runs is noted beside its start before anything is done, and forgotten when all is done:
//! ```text
//! limits.json: the old ones -> container.json: the new ones -> the kernel, one after the other -> no limits.json
//! ```
//! Whoever finds the note (with the container's lock) sets what `container.json` says, or, where the kernel does not take that, has the old
//! ones back. One that does not run has its limits at its next start.

use std::{fs, io, path::PathBuf};

use appcontainers_wire::client::{FromClient, ToClient};
use serde::Serialize;

use super::{Container, monitor};
use crate::{
    ContainerName, Error, Paths,
    error::io_error,
    event,
    limits::{LimitChange, Limits},
    record::ContainerRecord,
    runtime::{StartMode, StartRecord, Status, limits},
    state::{ContainerLock, Durability, replace},
};

/// The note's file in a container's run directory.
const NOTE: &str = "limits.json";

/// A container's limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LimitDetails {
    /// What was asked for.
    pub asked: Limits,
    /// What the kernel says is in force; of a container that does not run nothing.
    pub actual: Option<Limits>,
}

impl Container {
    /// The container's limits: what was asked for, and what is in force if it runs. Of the network only what was asked for is looked
    /// at.
    pub fn limits(&self) -> Result<LimitDetails, Error> {
        let asked = self.record()?.settings.limits;
        let actual = running(&self.paths, &self.name)?.map(|start| limits::actual(&self.paths, &start, &asked));
        Ok(LimitDetails { asked, actual })
    }

    /// Changes limits: of a container that runs at once, and all of them or none. What makes no sense, what this host has not, and
    /// what is below the container's use now is an error, and leaves what was in force.
    ///
    /// All of a container's processes are limited at once; only files that are open stay open whatever `nofile` is.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use appcontainers::{Paths, Service};
    ///
    /// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
    /// web.set_limits(&["memory=512M".parse()?, "cpus=".parse()?])?;
    /// assert_eq!(web.limits()?.asked.memory.map(|size| size.bytes()), Some(512 << 20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_limits(&self, changes: &[LimitChange]) -> Result<(), Error> {
        let lock = self.lock()?;
        let mut record = self.record()?;
        let old = record.settings.limits.clone();
        let new = &mut record.settings.limits;
        changes.iter().for_each(|change| new.apply(change));
        let new = new.clone();
        limits::check(&self.paths, &new).map_err(|source| self.limit_error(source))?;
        if old == new {
            return Ok(());
        }
        match running(&self.paths, lock.name())? {
            Some(start) => self.change_live(&mut record, &start, &old)?,
            None => record.store(&self.paths)?,
        }
        let words: Vec<_> = old.changes_to(&new).map(|change| change.to_string()).collect();
        event::note(&self.paths, &self.name, "limits", &[("changes", words.join(" ").into())]);
        Ok(())
    }

    fn change_live(&self, record: &mut ContainerRecord, start: &StartRecord, old: &Limits) -> Result<(), Error> {
        let new = record.settings.limits.clone();
        Note::write(&self.paths, &self.name, old)?;
        record.store(&self.paths)?;
        if let Err(source) = limits::change(&self.paths, start, old, &new) {
            record.settings.limits = old.clone();
            record.store(&self.paths)?;
            Note::remove(&self.paths, &self.name)?;
            return Err(self.limit_error(source));
        }
        if old.nofile != new.nofile {
            self.tell_monitor()?;
        }
        Note::remove(&self.paths, &self.name)
    }

    /// The monitor starts commands with the limit of open files that the container has now.
    fn tell_monitor(&self) -> Result<(), Error> {
        let of_monitor = |source| Error::Monitor { name: self.name.clone(), source };
        let mut connection = monitor::connect(&self.paths, &self.name)?;
        connection.wait_ready(monitor::READY_TIMEOUT).map_err(of_monitor)?;
        connection.send(&FromClient::LimitsChanged, &[]).map_err(of_monitor)?;
        loop {
            match connection.receive(monitor::READY_TIMEOUT).map_err(of_monitor)? {
                // What goes down starts nothing.
                ToClient::Done | ToClient::Stopping | ToClient::Stopped => return Ok(()),
                _ => {}
            }
        }
    }

    /// Limits again what it sends: whoever flushed all rules of the host took that, too.
    pub(crate) fn restore_egress(&self) -> Result<(), Error> {
        // Whoever has it sets them.
        let Some(lock) = ContainerLock::try_acquire(&self.paths, &self.name)? else { return Ok(()) };
        complete(&self.paths, &lock)?;
        let (Some(start), Some(record)) =
            (running(&self.paths, &self.name)?, ContainerRecord::load(&self.paths, &self.name)?)
        else {
            return Ok(());
        };
        let limits = record.settings.limits;
        if limits.net.egress.is_none() {
            return Ok(());
        }
        limits::reassert(&self.paths, &start, &limits).map_err(|source| self.limit_error(source))
    }

    fn limit_error(&self, source: limits::LimitError) -> Error {
        Error::Limit { name: self.name.clone(), source }
    }
}

/// The start in which a container runs.
fn running(paths: &Paths, name: &ContainerName) -> Result<Option<StartRecord>, Error> {
    let start = StartRecord::load(paths, name)?;
    Ok(start.filter(|start| start.status() == Status::Running && start.mode == StartMode::Full))
}

/// Finishes a change that a command which is dead had begun.
pub(super) fn complete(paths: &Paths, lock: &ContainerLock) -> Result<(), Error> {
    let name = lock.name();
    let Some(old) = Note::read(paths, name)? else { return Ok(()) };
    let (Some(start), Some(mut record)) = (running(paths, name)?, ContainerRecord::load(paths, name)?) else {
        return Note::remove(paths, name);
    };
    if let Err(error) = limits::reassert(paths, &start, &record.settings.limits) {
        tracing::warn!(%name, %error, "limits that a dead command was setting are taken back");
        record.settings.limits = old;
        record.store(paths)?;
        if let Err(error) = limits::reassert(paths, &start, &record.settings.limits) {
            tracing::warn!(%name, %error, "the container's limits are not as they were");
        }
    }
    let container = Container { paths: paths.clone(), name: name.clone() };
    container.tell_monitor()?;
    Note::remove(paths, name)
}

/// That limits are being changed, and what they were.
struct Note;

impl Note {
    fn path(paths: &Paths, name: &ContainerName) -> PathBuf {
        paths.container_run(name).join(NOTE)
    }

    fn write(paths: &Paths, name: &ContainerName, old: &Limits) -> Result<(), Error> {
        let path = Self::path(paths, name);
        let written = serde_json::to_vec(old).map_err(io::Error::from);
        let written = written.and_then(|text| replace(&path, &text, 0o600, Durability::Volatile));
        written.map_err(io_error("write", path))
    }

    fn read(paths: &Paths, name: &ContainerName) -> Result<Option<Limits>, Error> {
        let path = Self::path(paths, name);
        match fs::read(&path) {
            // Nobody knows any more what there was: then there were none.
            Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", path)(error)),
        }
    }

    fn remove(paths: &Paths, name: &ContainerName) -> Result<(), Error> {
        let path = Self::path(paths, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
            _ => Ok(()),
        }
    }
}

/// Whether limits can be kept on this host, before a container is made with them.
pub(super) fn check(paths: &Paths, wanted: &Limits) -> Result<(), Error> {
    limits::check(paths, wanted).map_err(|source| Error::NewLimit { source })
}
