//! Start, stop, restart, remove.

use std::time::Duration;

use appcontainers_wire::client::{FromClient, ToClient};

use super::{Container, length, monitor, recover, startup_specs};
use crate::{
    ContainerName, Error,
    life::{self, Ending, note_ending},
    process::{Connection, ConnectionError},
    record::{ContainerRecord, OverlayKind},
    runtime::{self, RuntimeError, Status},
    state::{ContainerLock, Durability},
};

/// Between TERM and KILL unless the caller says otherwise.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// More than anybody waits for.
const LONGEST_STOP_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What came of asking a container to outlive the commands that it was started for.
pub(super) enum Kept {
    /// It does from now on.
    Now,
    /// It did before.
    Before,
    /// It is on its way down: when it is there, it can be started again.
    IsEnding,
}

impl Container {
    /// Starts the container and its startup commands; returns when they run. One that runs only for as long as a
    /// [`Container::run`] lasts goes on after it.
    pub fn start(&self) -> Result<(), Error> {
        let mut lock = self.lock()?;
        self.refuse_paused()?;
        let mut record = self.record()?;
        startup_length(&self.name, &record)?;
        while self.status()? == Status::Running {
            match self.keep()? {
                Kept::IsEnding => {
                    monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2)?;
                    drop(lock);
                    lock = self.lock()?;
                }
                Kept::Now => return self.begin_anew(&lock),
                Kept::Before => return Err(RuntimeError::Running { name: self.name.clone() }.into()),
            }
        }
        self.check_can_start()?;
        // Whatever became of it before, from now on somebody wants it to run.
        self.begin_anew(&lock)?;
        self.launch(&lock, &mut record)?;
        life::cancel(&self.paths, &lock, Durability::Volatile, |state| state.untold = false)
    }

    /// Makes a container that runs outlive the commands that it was started for.
    pub(super) fn keep(&self) -> Result<Kept, Error> {
        let record = self.record()?;
        loop {
            let mut connection = match monitor::connect(&self.paths, &self.name) {
                // Another command has stopped it just now.
                Err(_) if self.status()? != Status::Running => return Ok(Kept::IsEnding),
                connection => connection?,
            };
            return match ask_to_keep(&mut connection, &record) {
                // Its monitor has died under way.
                Err(ConnectionError::Ended) if self.status()? == Status::Running => continue,
                Err(ConnectionError::Ended | ConnectionError::Stopping) => Ok(Kept::IsEnding),
                Err(source) => Err(Error::Monitor { name: self.name.clone(), source }),
                Ok(kept) => Ok(kept),
            };
        }
    }

    /// Forgets failures and restarts of before: somebody starts the container.
    fn begin_anew(&self, lock: &ContainerLock) -> Result<(), Error> {
        life::cancel(&self.paths, lock, Durability::Volatile, |state| {
            (state.stopped, state.restarts, state.failures) = (false, 0, 0);
        })
    }

    /// Stops the container: TERM to its processes, KILL after `timeout`. One that is stopped stays so. An ephemeral
    /// container is gone afterwards.
    pub fn stop(&self, timeout: Duration) -> Result<(), Error> {
        self.stop_as(timeout, &Ending::Asked)
    }

    /// As [`Container::stop`], because the host goes down: its next boot starts the container as if it had not been stopped.
    pub(crate) fn stop_with_host(&self, timeout: Duration) -> Result<(), Error> {
        self.stop_as(timeout, &Ending::Host)
    }

    fn stop_as(&self, timeout: Duration, ending: &Ending) -> Result<(), Error> {
        self.record()?;
        // Times are added up from here on.
        let timeout = timeout.min(LONGEST_STOP_TIMEOUT);
        loop {
            if self.status()? == Status::Running {
                note_ending(&self.paths, &self.name, ending.clone())?;
                monitor::stop(&self.paths, &self.name, timeout)?;
            }
            // Waits for a start that is under way. Whoever gets the lock first after the end clears up.
            let lock = self.settle()?;
            if self.status()? != Status::Running {
                // Perhaps it was down already, and was to be started again.
                let is_asked = *ending == Ending::Asked;
                let durability = ContainerRecord::load(&self.paths, &self.name)?
                    .map_or(Durability::Volatile, |record| record.overlay.durability());
                life::cancel(&self.paths, &lock, durability, |state| state.stopped |= is_asked)?;
                if ContainerRecord::load(&self.paths, &self.name)?.is_none() {
                    lock.remove()?;
                }
                return Ok(());
            }
        }
    }

    /// Stops the container and starts it again; its overlay stays, also an ephemeral container's.
    pub fn restart(&self, timeout: Duration) -> Result<(), Error> {
        self.stop_to_start(timeout)?;
        self.start_unless_running()
    }

    /// Starts the container; another command may have been faster.
    pub(super) fn start_unless_running(&self) -> Result<(), Error> {
        match self.start() {
            Err(Error::Runtime(RuntimeError::Running { .. })) => Ok(()),
            started => started,
        }
    }

    /// Stops the container so that it can be started again, also an ephemeral one.
    pub(super) fn stop_to_start(&self, timeout: Duration) -> Result<(), Error> {
        // An ephemeral container would go with its stop: for the moment it is kept.
        if self.record()?.overlay == OverlayKind::Tmp {
            self.update(|record| {
                record.survives_stop = true;
                Ok(())
            })?;
        }
        if let Err(error) = self.stop(timeout) {
            // It runs on: its end, when it comes, is no restart's.
            self.update(|record| {
                record.survives_stop = false;
                Ok(())
            })?;
            return Err(error);
        }
        Ok(())
    }

    /// Removes the container: its files, its log and, last, its reservation. One that runs is an error unless
    /// `force` kills it; so is one whose record can't be read.
    pub fn remove(self, force: bool) -> Result<(), Error> {
        if force {
            // Without the lock: a command that works in the container and holds it ends with that.
            note_ending(&self.paths, &self.name, Ending::Asked)?;
            monitor::kill(&self.paths, &self.name)?;
        }
        let lock = ContainerLock::acquire(&self.paths, &self.name)?;
        if force && ContainerRecord::load(&self.paths, &self.name).is_err() {
            // Whatever it said: without it, the rest is what a command left that was killed while it made a container.
            runtime::remove_tree(&ContainerRecord::path(&self.paths, &self.name))?;
        }
        recover(&self.paths, &lock)?;
        match self.status()? {
            Status::Stopped | Status::Ended => {}
            Status::Running | Status::Paused | Status::Busy if !force => {
                return Err(Error::RemoveRunning { name: self.name.clone() });
            }
            // Another command has started it meanwhile.
            Status::Running | Status::Paused | Status::Busy => monitor::end(&self.paths, &lock)?,
        }
        Ok(runtime::remove(&self.paths, &lock)?)
    }

    /// Whether it runs.
    pub fn status(&self) -> Result<Status, Error> {
        Ok(runtime::status(&self.paths, &self.name)?)
    }

    pub(super) fn check_can_start(&self) -> Result<(), Error> {
        match self.status()? {
            status if status.can_start() => Ok(()),
            Status::Running | Status::Paused => Err(RuntimeError::Running { name: self.name.clone() }.into()),
            _ => Err(RuntimeError::Busy { name: self.name.clone() }.into()),
        }
    }
}

/// Whether what is run at a container's start can be passed on.
pub(super) fn startup_length(name: &ContainerName, record: &ContainerRecord) -> Result<(), Error> {
    length::check(name, &startup_specs(&record.config))
}

fn ask_to_keep(connection: &mut Connection, record: &ContainerRecord) -> Result<Kept, ConnectionError> {
    connection.send(&FromClient::Keep { startup: startup_specs(&record.config) }, &[])?;
    loop {
        match connection.receive(monitor::READY_TIMEOUT)? {
            ToClient::Kept { was_kept } => return Ok(if was_kept { Kept::Before } else { Kept::Now }),
            ToClient::Stopping | ToClient::Stopped => return Err(ConnectionError::Stopping),
            _ => {}
        }
    }
}
