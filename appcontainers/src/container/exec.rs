//! Foreground commands in a container that runs.

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, client::FromClient};
use rand::Rng as _;

use super::{Container, length, monitor};
use crate::{
    Error,
    process::{Command, Connection, ConnectionError, RunError, RunStreams},
};

impl Container {
    /// Runs a command with this program's own standard input and output in the container, which must run and runs on.
    pub fn exec(&self, command: impl Into<Command>) -> Result<ExitStatus, Error> {
        let streams = RunStreams::inherit().map_err(|source| self.run_error(RunError::Input(source)))?;
        self.exec_with(command.into(), streams)
    }

    /// Runs a command with these streams; otherwise as [`Container::exec`].
    pub fn exec_with(&self, command: Command, streams: RunStreams) -> Result<ExitStatus, Error> {
        let spec = command.complete(&self.record()?.config, streams.stdin.is_some());
        length::check(&self.name, std::slice::from_ref(&spec))?;
        self.refuse_paused()?;
        let log = self.open_log()?;
        let (connection, accepted) = self.begin_exec(spec)?;
        self.follow_command(connection, accepted, log, streams)
    }

    fn begin_exec(&self, spec: ProcessSpec) -> Result<(Connection, (ProcessId, u64)), Error> {
        let token = rand::rng().random();
        let request = FromClient::Run { spec, stop_after: false, token };
        loop {
            let mut connection = self.connect_running()?;
            let sent = connection.send(&request, &[]);
            match sent.and_then(|()| connection.wait_accepted(monitor::READY_TIMEOUT)) {
                Ok(accepted) => return Ok((connection, accepted)),
                Err(ConnectionError::Stopping) => return Err(Error::NotRunning { name: self.name.clone() }),
                Err(ConnectionError::Ended) => {
                    // Its monitor has died: perhaps before, perhaps after it had the command started.
                    if let Some(record) = self.processes()?.with_token(token) {
                        return Ok((connection, (record.id, record.position)));
                    }
                }
                Err(source) => return Err(self.run_error(source.into())),
            }
        }
    }
}
