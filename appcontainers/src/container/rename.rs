//! Another name for a container. The record in the old directory says the new name first; from then on every
//! command that locks the container completes the renaming.

use std::fs;

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
    let Some(record) = ContainerRecord::load(paths, old)? else { return Ok(()) };
    let new = &record.name;
    if new == old {
        return Ok(());
    }
    {
        let host = HostLock::acquire(paths)?;
        match ReservationStore::open(paths, &host)?.rename(old, new, Durability::Durable) {
            Ok(_) => event::note(paths, old, "rename", &[("to", Value::from(new.as_str()))]),
            Err(ReservationError::Unknown { .. }) => {}
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
