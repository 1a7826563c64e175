//! Start, stop, restart, remove.

use std::time::Duration;

use appcontainers_wire::client::{FromClient, ToClient};

use super::{Container, length, monitor, recover, startup_specs};
use crate::{
    Error,
    process::{Connection, ConnectionError},
    record::{ContainerRecord, OverlayKind},
    runtime::{self, RuntimeError, StartMode, Status},
    state::ContainerLock,
};

/// Between TERM and KILL unless the caller says otherwise.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// More than anybody waits for.
const LONGEST_STOP_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Whether a container would have gone on anyway.
struct WasKept(bool);

impl Container {
    /// Starts the container and its startup commands; returns when they run. One that runs only for as long as a
    /// [`Container::run`] lasts goes on after it.
    pub fn start(&self) -> Result<(), Error> {
        let mut lock = self.lock()?;
        self.refuse_paused()?;
        let mut record = self.record()?;
        length::check(&self.name, &startup_specs(&record.config))?;
        while self.status()? == Status::Running {
            match ask_to_keep(&mut monitor::connect(&self.paths, &self.name)?, &record) {
                // Its monitor has died under way.
                Err(ConnectionError::Ended) if self.status()? == Status::Running => {}
                // It is on its way down: when it is there, start it again.
                Err(ConnectionError::Ended | ConnectionError::Stopping) => {
                    monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2)?;
                    drop(lock);
                    lock = self.lock()?;
                }
                Err(source) => return Err(Error::Monitor { name: self.name.clone(), source }),
                Ok(WasKept(false)) => return Ok(()),
                Ok(WasKept(true)) => return Err(RuntimeError::Running { name: self.name.clone() }.into()),
            }
        }
        self.check_can_start()?;
        if std::mem::take(&mut record.survives_stop) {
            record.store(&self.paths)?;
        }
        let mut connection = monitor::spawn(&self.paths, &lock, StartMode::Full, true)?;
        Ok(monitor::wait_ready(&self.paths, &lock, &mut connection)?)
    }

    /// Stops the container: TERM to its processes, KILL after `timeout`. One that is stopped stays so. An ephemeral
    /// container is gone afterwards.
    pub fn stop(&self, timeout: Duration) -> Result<(), Error> {
        self.record()?;
        // Times are added up from here on.
        let timeout = timeout.min(LONGEST_STOP_TIMEOUT);
        loop {
            if self.status()? == Status::Running {
                monitor::stop(&self.paths, &self.name, timeout)?;
            }
            // Waits for a start that is under way. Whoever gets the lock first after the end clears up.
            let lock = self.settle()?;
            if self.status()? != Status::Running {
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
        self.start()
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

/// Makes a running container outlive the commands that it was started for.
fn ask_to_keep(connection: &mut Connection, record: &ContainerRecord) -> Result<WasKept, ConnectionError> {
    connection.send(&FromClient::Keep { startup: startup_specs(&record.config) }, &[])?;
    loop {
        match connection.receive(monitor::READY_TIMEOUT)? {
            ToClient::Kept { was_kept } => return Ok(WasKept(was_kept)),
            ToClient::Stopping | ToClient::Stopped => return Err(ConnectionError::Stopping),
            _ => {}
        }
    }
}
