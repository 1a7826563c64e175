//! Start, stop, restart, remove.

use std::time::Duration;

use super::{Container, OverlayKind, monitor};
use crate::{
    Error,
    runtime::{self, RuntimeError, StartMode, Status},
};

/// Between TERM and KILL unless the caller says otherwise.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

impl Container {
    /// Starts the container and its startup commands; returns when they run.
    pub fn start(&self) -> Result<(), Error> {
        let lock = self.lock()?;
        self.record()?;
        self.check_can_start()?;
        let mut connection = monitor::spawn(&self.paths, &self.name, StartMode::Full, true)?;
        Ok(monitor::wait_ready(&self.paths, &lock, &mut connection)?)
    }

    /// Stops the container: TERM to its processes, KILL after `timeout`. One that is stopped stays so. An ephemeral
    /// container is gone afterwards.
    pub fn stop(&self, timeout: Duration) -> Result<(), Error> {
        self.record()?;
        if self.status()? == Status::Running {
            monitor::stop(&self.paths, &self.name, timeout)?;
        }
        // Whoever gets the lock first clears up; after this, it is done.
        self.lock()?;
        Ok(())
    }

    /// Stops the container and starts it again; its overlay stays, also an ephemeral container's.
    pub fn restart(&self, timeout: Duration) -> Result<(), Error> {
        let overlay = self.record()?.overlay;
        // An ephemeral container would go with its stop: for the moment it is kept.
        if overlay == OverlayKind::Tmp {
            self.update(|record| {
                record.survives_stop = true;
                Ok(())
            })?;
        }
        self.stop(timeout)?;
        if overlay == OverlayKind::Tmp {
            self.update(|record| {
                record.survives_stop = false;
                Ok(())
            })?;
        }
        self.start()
    }

    /// Removes the container: its files, its log and, last, its reservation. One that runs is an error unless
    /// `force` kills it.
    pub fn remove(self, force: bool) -> Result<(), Error> {
        if force {
            monitor::kill(&self.paths, &self.name)?;
            monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT)?;
        }
        let lock = self.lock()?;
        match self.status()? {
            Status::Stopped | Status::Ended => {}
            Status::Running => return Err(Error::MustBeStopped { name: self.name.clone() }),
            Status::Busy => return Err(RuntimeError::Busy { name: self.name.clone() }.into()),
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
            Status::Running => Err(RuntimeError::Running { name: self.name.clone() }.into()),
            _ => Err(RuntimeError::Busy { name: self.name.clone() }.into()),
        }
    }
}
