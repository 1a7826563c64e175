//! Pausing: all processes of a container stand still where they are, until somebody has them go on or stops the container.

use appcontainers_wire::client::{FromClient, ToClient};

use super::{Container, monitor};
use crate::{
    Error, event,
    process::ConnectionError,
    runtime::{StartRecord, Status},
};

impl Container {
    /// Has all processes of a running container stand still. It keeps its memory, its address and what is connected to it; its clock goes
    /// on, but what the monitor waits for (grace of a killed client's command, restarts) stands still as well. One that is paused stays so.
    ///
    /// Commands and what works on its files are refused meanwhile ([`Error::Paused`]); a stop has it go on, and stops it. The pause is
    /// over with the container's end, and kept if its monitor dies.
    pub fn pause(&self) -> Result<(), Error> {
        self.ask_for(&FromClient::Pause)?;
        event::note(&self.paths, &self.name, "pause", &[]);
        Ok(())
    }

    /// Has a paused container go on. One that is not paused does so anyway; one that does not run is an error.
    pub fn unpause(&self) -> Result<(), Error> {
        self.ask_for(&FromClient::Unpause)?;
        event::note(&self.paths, &self.name, "unpause", &[]);
        Ok(())
    }

    /// Whether it runs and is paused.
    pub fn is_paused(&self) -> Result<bool, Error> {
        let start = StartRecord::load(&self.paths, &self.name)?;
        Ok(start.is_some_and(|start| start.shown_status() == Status::Paused))
    }

    /// An error if it is paused: what is asked of its agent then waits for ever.
    pub(super) fn refuse_paused(&self) -> Result<(), Error> {
        if self.is_paused()? { Err(Error::Paused { name: self.name.clone() }) } else { Ok(()) }
    }

    fn ask_for(&self, request: &FromClient) -> Result<(), Error> {
        loop {
            let mut connection = self.connect_running()?;
            let asked = connection.send(request, &[]).and_then(|()| {
                loop {
                    match connection.receive(monitor::READY_TIMEOUT)? {
                        ToClient::Done => return Ok(()),
                        ToClient::Stopping | ToClient::Stopped => return Err(ConnectionError::Stopping),
                        _ => {}
                    }
                }
            });
            match asked {
                Ok(()) => return Ok(()),
                // Its monitor has died under way.
                Err(ConnectionError::Ended) if self.status()? == Status::Running => {}
                Err(ConnectionError::Ended | ConnectionError::Stopping) => {
                    return Err(Error::NotRunning { name: self.name.clone() });
                }
                Err(source) => return Err(Error::Monitor { name: self.name.clone(), source }),
            }
        }
    }
}
