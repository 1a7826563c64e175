//! Foreground commands.

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, client::FromClient};
use rand::Rng as _;

use super::{Container, length, lifecycle::DEFAULT_STOP_TIMEOUT, monitor};
use crate::{
    Error,
    output::ForegroundReader,
    process::{Command, Connection, ConnectionError, Follower, RunError, RunStreams},
    runtime::{self, RuntimeError, StartMode, Status},
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
        length::check(&self.name, std::slice::from_ref(&spec))?;
        self.refuse_paused()?;
        // Opened before the command can end: an ephemeral container may be gone the moment after.
        let log = self.open_log()?;
        let (connection, accepted) = self.begin_run(spec)?;
        self.follow_command(connection, accepted, log, streams)
    }

    /// Follows a command that was accepted to its end.
    pub(super) fn follow_command(
        &self,
        mut connection: Connection,
        accepted: (ProcessId, u64),
        log: ForegroundReader,
        streams: RunStreams,
    ) -> Result<ExitStatus, Error> {
        let followed = Follower::begin(accepted, log, streams);
        let followed = followed.and_then(|mut follower| self.follow(&mut connection, &mut follower));
        match followed {
            Ok(status) => Ok(status),
            Err(RunError::NotStarted(failure)) => Err(Error::NotStarted { name: self.name.clone(), failure }),
            Err(error) => Err(self.run_error(error)),
        }
    }

    /// Follows a command to its end, also past the end of a monitor.
    fn follow(&self, connection: &mut Connection, follower: &mut Follower) -> Result<ExitStatus, RunError> {
        loop {
            match follower.follow(connection) {
                Err(RunError::Connection(ConnectionError::Ended)) => {}
                followed => return followed,
            }
            *connection = match monitor::connect(&self.paths, &self.name) {
                Ok(adopted) => adopted,
                Err(error)
                    if runtime::status(&self.paths, &self.name).is_ok_and(|status| status == Status::Running) =>
                {
                    return Err(RunError::NotAdopted { said: error.to_string() });
                }
                // The container is gone with its monitor.
                Err(_) => return follower.finish(connection),
            };
            match follower.claim(connection, monitor::READY_TIMEOUT) {
                // That one has died as well.
                Ok(()) | Err(RunError::Connection(ConnectionError::Ended)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for the command in the container that runs, or in one started for it.
    fn begin_run(&self, spec: ProcessSpec) -> Result<(Connection, (ProcessId, u64)), Error> {
        let token = rand::rng().random();
        loop {
            let lock = self.lock()?;
            let status = self.status()?;
            let (mut connection, lock) = match status {
                Status::Running | Status::Paused => (monitor::connect(&self.paths, &self.name)?, None),
                Status::Stopped | Status::Ended => {
                    (monitor::spawn(&self.paths, &lock, StartMode::Full, false)?, Some(lock))
                }
                Status::Busy => return Err(RuntimeError::Busy { name: self.name.clone() }.into()),
            };
            // Sent before the container is ready: the monitor takes it the moment it is.
            let request = FromClient::Run { spec: spec.clone(), stop_after: status != Status::Running, token };
            let sent = connection.send(&request, &[]);
            if let Some(lock) = &lock {
                monitor::wait_ready(&self.paths, lock, &mut connection)?;
            }
            let accepted = match sent {
                // Why it has ended is learnt by reading.
                Ok(()) | Err(ConnectionError::Ended) => connection.wait_accepted(monitor::READY_TIMEOUT),
                Err(source) => Err(source),
            };
            match accepted {
                Ok(accepted) => return Ok((connection, accepted)),
                Err(ConnectionError::Ended) if self.status()? == Status::Running => {
                    // Its monitor has died: perhaps before, perhaps after it had the command started.
                    let processes = self.processes()?;
                    if let Some(record) = processes.with_token(token) {
                        return Ok((connection, (record.id, record.position)));
                    }
                }
                // It is on its way down: when it is there, start it again.
                Err(ConnectionError::Ended | ConnectionError::Stopping) => {
                    drop(lock);
                    monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2)?;
                }
                Err(source) => return Err(self.run_error(source.into())),
            }
        }
    }

    pub(super) fn open_log(&self) -> Result<ForegroundReader, Error> {
        ForegroundReader::open(&self.paths.container_log(&self.name)).map_err(|source| self.run_error(source.into()))
    }

    pub(super) fn run_error(&self, source: RunError) -> Error {
        Error::Run { name: self.name.clone(), source }
    }
}
