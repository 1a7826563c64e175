//! Operations on a container's files. All go through an agent in the container, in its user namespace and its root,
//! also for a container that is stopped: then one is started without network for as long as the operation takes.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use appcontainers_wire::{ExitStatus, ProcessSpec, client::FromClient};

use super::{Container, lifecycle::DEFAULT_STOP_TIMEOUT, monitor};
use crate::{
    Error,
    error::io_error,
    process::{Connection, ConnectionError, Follower, RunError, RunStreams},
    runtime::{RuntimeError, StartMode, Status},
    state::ContainerLock,
};

/// Most of what an operation's error output is worth telling, in bytes.
const MOST_SAID_BYTES: u64 = 4096;

impl Container {
    /// Unpacks a plain tar, read from `tar`, into `into` (the home directory of the container's user if absent).
    pub(crate) fn unpack(&self, lock: &ContainerLock, tar: File, into: Option<&str>) -> Result<(), Error> {
        let record = self.record()?;
        let mut argv = vec!["untar".to_owned()];
        if let Some(directory) = into {
            argv.extend(["--into".to_owned(), directory.to_owned()]);
        } else if let Some(user) = record.config.user {
            argv.extend(["--user".to_owned(), user]);
        }
        self.operate(lock, argv, tar)
    }

    /// Unpacks a tar that this library made, from `/` on.
    pub(super) fn unpack_rendered(&self, lock: &ContainerLock, tar: &[u8]) -> Result<(), Error> {
        let failed = || io_error("write a temporary file in", std::env::temp_dir());
        let mut spool = tempfile::tempfile().map_err(failed())?;
        spool.write_all(tar).map_err(failed())?;
        spool.rewind().map_err(failed())?;
        self.unpack(lock, spool, Some("/"))
    }

    fn operate(&self, lock: &ContainerLock, argv: Vec<String>, input: File) -> Result<(), Error> {
        let spec = ProcessSpec { argv, stdin: true, file_operation: true, ..ProcessSpec::default() };
        let (mut connection, started) = match self.status()? {
            Status::Running => (monitor::connect(&self.paths, &self.name)?, false),
            Status::Stopped | Status::Ended => (monitor::spawn(&self.paths, lock, StartMode::Files, false)?, true),
            Status::Busy => return Err(RuntimeError::Busy { name: self.name.clone() }.into()),
        };
        let mut said = temporary_file()?;
        let done = self.converse(lock, &mut connection, spec, started, input, &said);
        if started {
            if done.is_ok() {
                // It stops by itself; what does not is killed below.
                let _ = monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT);
            }
            monitor::end(&self.paths, lock)?;
        }
        match done? {
            ExitStatus::Code(0) => {
                // An attribute that the container may not set is left out, and said.
                for line in read_said(&mut said).unwrap_or_default().split("; ").filter(|line| !line.is_empty()) {
                    tracing::warn!("{line}");
                }
                Ok(())
            }
            status => {
                let said = read_said(&mut said).unwrap_or_default();
                let said = if said.is_empty() { format!("the agent ended with {status:?}") } else { said };
                Err(Error::FileOperation { name: self.name.clone(), said })
            }
        }
    }

    /// Has the monitor run the operation and follows it to its end.
    fn converse(
        &self,
        lock: &ContainerLock,
        connection: &mut Connection,
        spec: ProcessSpec,
        started: bool,
        input: File,
        said: &File,
    ) -> Result<ExitStatus, Error> {
        let log = self.open_log()?;
        let of_connection = |source: ConnectionError| self.run_error(source.into());
        connection.send(&FromClient::Run { spec, stop_after: started, token: 0 }, &[]).map_err(of_connection)?;
        if started {
            monitor::wait_ready(&self.paths, lock, connection)?;
        }
        let accepted = connection.wait_accepted(monitor::READY_TIMEOUT).map_err(of_connection)?;
        let streams = RunStreams {
            stdin: Some(input),
            stdout: None,
            stderr: Some(said.try_clone().map_err(io_error("copy the handle of", "a temporary file"))?),
            signals: None,
            terminal: None,
        };
        let followed = Follower::begin(accepted, log, streams);
        match followed.and_then(|mut follower| follower.follow(connection)) {
            Err(RunError::NotStarted(failure)) => Err(Error::NotStarted { name: self.name.clone(), failure }),
            followed => followed.map_err(|error| self.run_error(error)),
        }
    }
}

fn temporary_file() -> Result<File, Error> {
    tempfile::tempfile().map_err(io_error("create a temporary file in", std::env::temp_dir()))
}

/// What the operation said, on one line and without the agent's own name before it.
fn read_said(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST_SAID_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(|line| line.strip_prefix("appc-agent: ").unwrap_or(line));
    Ok(lines.collect::<Vec<_>>().join("; ").replace(|character: char| character.is_control(), "?"))
}
