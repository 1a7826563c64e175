//! Foreground commands.

use appcontainers_wire::{ExitStatus, ProcessSpec, client::FromClient};

use super::{Container, lifecycle::DEFAULT_STOP_TIMEOUT, monitor};
use crate::{
    Error,
    process::{Command, Connection, ConnectionError, RunError, RunStreams, follow},
    runtime::{RuntimeError, StartMode, Status},
};

impl Container {
    /// Runs a command with this program's own standard input and output. A container that is stopped is started for
    /// it, without its startup commands, and stopped when the last such command has ended.
    pub fn run(&self, command: impl Into<Command>) -> Result<ExitStatus, Error> {
        self.run_with(command.into(), RunStreams::inherit().map_err(|source| self.run_error(RunError::Input(source)))?)
    }

    /// Runs a command with these streams; otherwise as [`Container::run`].
    pub fn run_with(&self, command: Command, streams: RunStreams) -> Result<ExitStatus, Error> {
        let spec = command.complete(&self.record()?.config, streams.stdin.is_some());
        let log = self.paths.container_log(&self.name);
        let mut connection = self.begin_run(spec)?;
        match follow(&mut connection, &log, streams) {
            Ok(status) => Ok(status),
            Err(RunError::NotStarted(failure)) => Err(Error::NotStarted { name: self.name.clone(), failure }),
            Err(error) => Err(self.run_error(error)),
        }
    }

    /// Asks for the command in the container that runs, or in one started for it.
    fn begin_run(&self, spec: ProcessSpec) -> Result<Connection, Error> {
        loop {
            let lock = self.lock()?;
            match self.status()? {
                Status::Running => {
                    drop(lock);
                    let mut connection = monitor::connect(&self.paths, &self.name)?;
                    let request = FromClient::Run { spec: spec.clone(), stop_after: false };
                    match self.request(&mut connection, &request) {
                        // It is on its way down: when it is there, start it again.
                        Err(ConnectionError::Ended | ConnectionError::Stopping) => {
                            monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2)?;
                        }
                        Err(source) => return Err(self.run_error(source.into())),
                        Ok(()) => return Ok(connection),
                    }
                }
                Status::Stopped | Status::Ended => {
                    let mut connection = monitor::spawn(&self.paths, &self.name, StartMode::Full, false)?;
                    let request = FromClient::Run { spec, stop_after: true };
                    connection.send(&request, &[]).map_err(|source| self.run_error(source.into()))?;
                    monitor::wait_ready(&self.paths, &lock, &mut connection)?;
                    return Ok(connection);
                }
                Status::Busy => return Err(RuntimeError::Busy { name: self.name.clone() }.into()),
            }
        }
    }

    fn request(&self, connection: &mut Connection, request: &FromClient) -> Result<(), ConnectionError> {
        connection.send(request, &[])?;
        connection.wait_accepted()
    }

    pub(super) fn run_error(&self, source: RunError) -> Error {
        Error::Run { name: self.name.clone(), source }
    }
}
