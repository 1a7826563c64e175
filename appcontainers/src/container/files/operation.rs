//! One operation of the agent's: a process in the container whose output comes to us and not into the log.

use std::{fs::File, os::fd::OwnedFd};

use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, client::FromClient};

use super::said::{Listener, Said};
use crate::{
    Container, Error,
    container::{lifecycle::DEFAULT_STOP_TIMEOUT, monitor},
    error::io_error,
    output::ForegroundReader,
    process::{Connection, ConnectionError, Follower, RunError, RunStreams},
    runtime::{RuntimeError, StartMode, Status},
    state::ContainerLock,
};

/// An operation's arguments and streams.
#[derive(Debug, Default)]
pub(super) struct Operation {
    pub(super) argv: Vec<String>,
    pub(super) stdin: Option<File>,
    pub(super) stdout: Option<File>,
    /// Gives numbers of signals for it, one byte each.
    pub(super) signals: Option<OwnedFd>,
    /// It is for the container's next writable layer; the caller has begun the renewal.
    pub(super) on_next_layer: bool,
    /// It makes sense in a running container only.
    pub(super) needs_running: bool,
}

/// How an operation ended.
#[derive(Debug)]
pub(super) struct Operated {
    pub(super) status: ExitStatus,
    said: Said,
}

/// An operation that the monitor has accepted.
struct Begun {
    connection: Connection,
    accepted: (ProcessId, u64),
    log: ForegroundReader,
    /// The container was started for it.
    started: bool,
}

impl Operated {
    /// Whether it did what it was asked to; passes on what it said all the same.
    pub(super) fn check(&self, container: &Container) -> Result<(), Error> {
        if self.status == ExitStatus::Code(0) {
            self.said.warn();
            return Ok(());
        }
        let said = self.said.line().unwrap_or_else(|| match self.status {
            ExitStatus::Code(code) => format!("the agent's operation ended with code {code}"),
            ExitStatus::Signal(signal) => format!("signal {signal} ended the agent's operation"),
        });
        Err(Error::FileOperation { name: container.name.clone(), said })
    }
}

impl Container {
    /// Runs an operation. The container's lock is held while it is started for that, and not longer than it takes to ask
    /// if it runs already.
    pub(super) fn operate(&self, operation: Operation) -> Result<Operated, Error> {
        loop {
            let lock = self.lock()?;
            match self.begin(&lock, &operation) {
                Ok(begun) if begun.started => return self.complete_started(&lock, begun, operation),
                Ok(begun) => {
                    drop(lock);
                    return self.complete(begun, operation);
                }
                // It is on its way down: when it is there, start it again.
                Err(Error::Files { source: RunError::Connection(ConnectionError::Stopping), .. }) => {
                    drop(lock);
                    monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT * 2)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs an operation for a caller that has the lock.
    pub(super) fn operate_locked(&self, lock: &ContainerLock, operation: Operation) -> Result<Operated, Error> {
        let begun = self.begin(lock, &operation)?;
        if begun.started { self.complete_started(lock, begun, operation) } else { self.complete(begun, operation) }
    }

    /// Asks for the operation in the container that runs, or in one started for it, without network.
    fn begin(&self, lock: &ContainerLock, operation: &Operation) -> Result<Begun, Error> {
        let status = self.status()?;
        if operation.needs_running && status != Status::Running {
            return Err(Error::MustRun { name: self.name.clone() });
        }
        self.refuse_paused()?;
        let log = self.open_log()?;
        let mode = if operation.on_next_layer { StartMode::Renewal } else { StartMode::Files };
        let (mut connection, started) = match status {
            Status::Running if operation.on_next_layer => {
                return Err(RuntimeError::Running { name: self.name.clone() }.into());
            }
            Status::Running | Status::Paused => (monitor::connect(&self.paths, &self.name)?, false),
            Status::Stopped | Status::Ended => (monitor::spawn(&self.paths, lock, mode, false)?, true),
            Status::Busy => return Err(RuntimeError::Busy { name: self.name.clone() }.into()),
        };
        let asked = self.ask(lock, &mut connection, operation, started);
        match asked {
            Ok(accepted) => Ok(Begun { connection, accepted, log, started }),
            Err(error) => {
                if started {
                    monitor::end(&self.paths, lock)?;
                }
                Err(error)
            }
        }
    }

    fn ask(
        &self,
        lock: &ContainerLock,
        connection: &mut Connection,
        operation: &Operation,
        started: bool,
    ) -> Result<(ProcessId, u64), Error> {
        let spec = ProcessSpec {
            argv: operation.argv.clone(),
            stdin: operation.stdin.is_some(),
            file_operation: true,
            ..ProcessSpec::default()
        };
        let of_connection = |source: ConnectionError| self.files_error(source.into());
        connection.send(&FromClient::Run { spec, stop_after: started, token: 0 }, &[]).map_err(of_connection)?;
        if started {
            monitor::wait_ready(&self.paths, lock, connection)?;
        }
        connection.wait_accepted(monitor::READY_TIMEOUT).map_err(of_connection)
    }

    /// Follows an operation to its end, and the container that was started for it.
    fn complete_started(&self, lock: &ContainerLock, begun: Begun, operation: Operation) -> Result<Operated, Error> {
        let done = self.complete(begun, operation);
        if done.is_ok() {
            // It stops by itself; what does not is killed below.
            let _ = monitor::wait_ended(&self.paths, &self.name, DEFAULT_STOP_TIMEOUT);
        }
        monitor::end(&self.paths, lock)?;
        done
    }

    fn complete(&self, mut begun: Begun, operation: Operation) -> Result<Operated, Error> {
        let (listener, stderr) = Listener::with_pipe().map_err(io_error("make a pipe for", "the agent's messages"))?;
        let streams = RunStreams {
            stdin: operation.stdin,
            stdout: operation.stdout,
            stderr: Some(OwnedFd::from(stderr).into()),
            signals: operation.signals,
            terminal: None,
        };
        let followed = {
            let follower = Follower::begin(begun.accepted, begun.log, streams);
            // Its streams are closed with it, which is what the listener waits for.
            follower.and_then(|mut follower| follower.follow(&mut begun.connection))
        };
        let said = listener.finish();
        match followed {
            Ok(status) => Ok(Operated { status, said }),
            Err(RunError::NotStarted(failure)) => Err(Error::NotStarted { name: self.name.clone(), failure }),
            Err(error) => Err(self.files_error(error)),
        }
    }

    fn files_error(&self, source: RunError) -> Error {
        Error::Files { name: self.name.clone(), source }
    }
}
