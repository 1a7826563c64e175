//! Another name for a container. The record in the old directory says the new name first; from then on every
//! command that locks the container completes the renaming.

use std::{fs, io};

use serde_json::Value;

use super::{Container, ContainerRecord};
use crate::{
    ContainerName, Error, Hostname, Paths,
    error::io_error,
    event,
    network::{ReservationError, ReservationStore, Reservations},
    runtime::{Status, overlay_dir},
    state::{ContainerLock, Durability, HostLock},
};

impl Container {
    /// Gives the container another name, and its host name with it unless that was chosen. It must be stopped.
    pub fn rename(&mut self, new: ContainerName) -> Result<(), Error> {
        if new == self.name {
            return Ok(());
        }
        let lock = self.lock()?;
        if self.status()? != Status::Stopped {
            return Err(Error::MustBeStopped { name: self.name.clone() });
        }
        // Nobody may make a container of the new name meanwhile.
        let _new_lock = ContainerLock::acquire(&self.paths, &new)?;
        if Reservations::read(&self.paths)?.get(&new).is_some() {
            return Err(ReservationError::Taken { name: new }.into());
        }
        let mut record = self.record()?;
        if record.hostname == Hostname::of(&self.name) {
            record.hostname = Hostname::of(&new);
        }
        record.name = new.clone();
        record.store_in(&self.paths, &self.name)?;
        complete(&self.paths, &lock)?;
        self.name = new;
        Ok(())
    }
}

/// Completes a renaming that a command began and did not end.
pub(super) fn complete(paths: &Paths, lock: &ContainerLock) -> Result<(), Error> {
    let old = lock.name();
    let Some(mut record) = ContainerRecord::load(paths, old)? else { return Ok(()) };
    let new = &record.name;
    if new == old {
        return Ok(());
    }
    {
        let host = HostLock::acquire(paths)?;
        match ReservationStore::open(paths, &host)?.rename(old, new, Durability::Durable) {
            Ok(_) => event::note(paths, old, "rename", &[("to", Value::from(new.as_str()))]),
            Err(ReservationError::Unknown { .. }) => {}
            // Somebody took the name when the command that wanted it had been killed: the old one stays.
            Err(ReservationError::Taken { .. }) => {
                if record.hostname == Hostname::of(new) {
                    record.hostname = Hostname::of(old);
                }
                record.name = old.clone();
                return Ok(record.store(paths)?);
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (from, to) in [
        (overlay_dir(paths, old, record.overlay), overlay_dir(paths, new, record.overlay)),
        (paths.container(old), paths.container(new)),
    ] {
        if from.exists() {
            fs::rename(&from, &to).map_err(io_error("rename", &from))?;
        }
    }
    Ok(())
}

/// Completes all renamings that were begun and not ended. Returns both names of those that can't be completed now: a
/// command is at it, or `look_only` asks to change nothing.
pub(crate) fn complete_all(paths: &Paths, look_only: bool) -> Result<Vec<ContainerName>, Error> {
    let mut under_way = Vec::new();
    let directory = paths.containers();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(under_way),
        Err(error) => return Err(io_error("list", &directory)(error)),
    };
    for old in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerName>().ok()) {
        let Some(record) = ContainerRecord::load(paths, &old)?.filter(|record| record.name != old) else { continue };
        let lock = if look_only { None } else { ContainerLock::try_acquire(paths, &old)? };
        match lock {
            Some(lock) => complete(paths, &lock)?,
            None => under_way.extend([old, record.name]),
        }
    }
    Ok(under_way)
}
