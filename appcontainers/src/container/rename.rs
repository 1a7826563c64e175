//! Another name for a container. The record in the old directory says the new name first; from then on every
//! command that locks the container completes the renaming.

use std::{fs, io, time::Duration};

use serde_json::Value;

use super::Container;
use crate::{
    ContainerName, Error, Hostname, Paths,
    error::io_error,
    event, gateway,
    network::{ReservationError, ReservationStore, Reservations, policy::PolicyChange},
    record::ContainerRecord,
    runtime::{self, Status, overlay_dir},
    session,
    state::{ContainerLock, Durability, HostLock, LockError, StateError},
};

/// How long another command may hold the new name. Bounded, or two that swap names would wait for each other.
const NEW_NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command waits for who is busy with a container whose renaming is not completed.
const OLD_NAME_TIMEOUT: Duration = Duration::from_secs(5);

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
        let _new_lock = ContainerLock::acquire_within(&self.paths, &new, NEW_NAME_TIMEOUT)?;
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
        remove_locks(&self.paths, &lock)?;
        self.name = new;
        Ok(())
    }
}

/// Completes every renaming that was killed. One that a command goes on being busy with is left to it, as are containers
/// that can't be read.
pub(super) fn complete_all(paths: &Paths) -> Result<(), Error> {
    half_renamed(paths)?.into_iter().flatten().try_for_each(|(old, _)| complete_of(paths, &old))
}

/// Completes the renaming of the container that was `old`, unless a command goes on being busy with it.
pub(crate) fn complete_of(paths: &Paths, old: &ContainerName) -> Result<(), Error> {
    // Whoever has the lock is renaming it, or clears up after its last start: both are soon done.
    match ContainerLock::acquire_within(paths, old, OLD_NAME_TIMEOUT) {
        Ok(lock) => complete(paths, &lock).and_then(|()| remove_locks(paths, &lock)),
        Err(LockError::TimedOut { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the files of the locks of a name that its container has left.
fn remove_locks(paths: &Paths, lock: &ContainerLock) -> Result<(), Error> {
    if ContainerRecord::load(paths, lock.name())?.is_none() {
        runtime::remove_tree(&paths.monitor_lock(lock.name()))?;
        lock.remove()?;
    }
    Ok(())
}

/// Whether a renaming to this name has begun and is not completed. A container that can't be read may be the one.
pub(super) fn is_target(paths: &Paths, name: &ContainerName) -> Result<bool, Error> {
    for renaming in half_renamed(paths)? {
        if renaming?.1 == *name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A container whose record has another name than its directory: that one, and the record's; or why nobody knows.
type Renaming = Result<(ContainerName, ContainerName), StateError>;

fn half_renamed(paths: &Paths) -> Result<Vec<Renaming>, Error> {
    let directory = paths.containers();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", &directory))?,
    };
    let mut found = Vec::new();
    for old in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerName>().ok()) {
        match ContainerRecord::load(paths, &old) {
            Ok(Some(record)) if record.name != old => found.push(Ok((old, record.name))),
            Ok(_) => {}
            Err(error) => found.push(Err(error)),
        }
    }
    Ok(found)
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
            // The command was killed before it had the new name, and another container has it now: back to the old one.
            Err(ReservationError::Taken { .. }) => return take_back(paths, record, old),
            Err(error) => return Err(error.into()),
        }
    }
    {
        let host = HostLock::acquire(paths)?;
        let mut change = PolicyChange::begin(paths, &host);
        change.rename(old, new)?;
        change.commit()?;
    }
    gateway::rename(paths, old, new);
    session::follow(paths, old, new).map_err(io_error("rename the container in", paths.sessions()))?;
    // A mount point can't be renamed; it is mounted again at its new place.
    runtime::unmount_disk(paths, old)?;
    let overlay = overlay_dir(paths, old, record.overlay);
    if overlay.exists() {
        fs::rename(&overlay, overlay_dir(paths, new, record.overlay)).map_err(io_error("rename", &overlay))?;
    }
    let host = HostLock::acquire(paths)?;
    let mut change = PolicyChange::begin(paths, &host);
    change.mark()?;
    let directory = paths.container(old);
    fs::rename(&directory, paths.container(new)).map_err(io_error("rename", &directory))?;
    change.arrived(new)?;
    Ok(change.commit()?)
}

fn take_back(paths: &Paths, mut record: ContainerRecord, old: &ContainerName) -> Result<(), Error> {
    if record.hostname == Hostname::of(&record.name) {
        record.hostname = Hostname::of(old);
    }
    record.name = old.clone();
    Ok(record.store(paths)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        network::{IdPool, PoolSettings, ReserveOptions},
        setup,
        state::create_directory,
    };

    #[test]
    fn a_renaming_that_was_killed_early_goes_back_when_another_container_has_the_new_name() {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path().join("root"), place.path().join("run"));
        for (path, mode) in setup::layout(&paths) {
            create_directory(&path, mode).unwrap();
        }
        let [old, new]: [ContainerName; 2] = ["old", "new"].map(|name| name.parse().unwrap());
        {
            let host = HostLock::acquire(&paths).unwrap();
            let id_pool = IdPool { base: 1 << 30, count: 1 << 20 };
            let settings = PoolSettings::new("10.1.0.0/24".parse().unwrap(), id_pool);
            let mut store = ReservationStore::create(&paths, &host, settings).unwrap();
            for name in [&old, &new] {
                store.reserve(name, ReserveOptions { privileged: true, durability: Durability::Volatile }).unwrap();
            }
        }
        fs::create_dir(paths.container(&old)).unwrap();
        let record = ContainerRecord::example(&new);
        record.store_in(&paths, &old).unwrap();
        complete(&paths, &ContainerLock::acquire(&paths, &old).unwrap()).unwrap();
        let record = ContainerRecord::load(&paths, &old).unwrap().unwrap();
        assert_eq!((record.name, record.hostname), (old.clone(), Hostname::of(&old)));
        assert!(Reservations::read(&paths).unwrap().get(&old).is_some());
    }
}
