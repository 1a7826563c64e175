//! A container's processes: which there are, starting one in the background, signals, and waiting for an end.

use std::time::{Duration, Instant};

use appcontainers_wire::{
    ProcessId, RestartPolicy, SpawnFailure,
    client::{FromClient, ToClient},
};
use jiff::Timestamp;
use rand::Rng as _;

use super::{Container, LogQuery, length, monitor};
use crate::{
    Error, ProcessName,
    process::{
        Command, Connection, ConnectionError, End, Entry, News, ProcessRecord, ProcessRef, ProcessTable, Watch,
        read_processes,
    },
    record::ContainerRecord,
    runtime::Status,
};

/// A process in the background.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, RestartPolicy, Service, SpawnOptions};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let options = SpawnOptions { name: Some("server".parse()?), restart: RestartPolicy::Always };
/// web.spawn(["/usr/bin/serve", "--port", "80"], options)?;
/// for process in web.processes()?.records().filter(|process| process.ended.is_none()) {
///     println!("{} {:?}", process.id, process.name);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    /// What it is called beside its number; no living process of the container may have that name.
    pub name: Option<ProcessName>,
    /// What happens when it ends.
    pub restart: RestartPolicy,
}

impl Container {
    /// All processes that are known: those that run, and the last thousand that have ended. The numbers go on over starts
    /// of the container.
    pub fn processes(&self) -> Result<ProcessTable, Error> {
        self.connect_if_running()?;
        let mut table = read_processes(&self.paths.container(&self.name))?;
        self.lose_dead(&mut table)?;
        Ok(table)
    }

    /// What a table, which was read before, has as alive has gone with its container if that does not run.
    pub(super) fn lose_dead(&self, table: &mut ProcessTable) -> Result<(), Error> {
        if matches!(self.status()?, Status::Stopped | Status::Ended) {
            let alive: Vec<_> =
                table.records().filter(|record| record.ended.is_none()).map(|record| record.id).collect();
            let (time, end, position) = (Timestamp::now(), End::Lost, u64::MAX);
            for process in alive {
                table.learn(Entry::Ended { process, time, end: end.clone(), position });
            }
        }
        Ok(())
    }

    /// One process.
    pub fn process(&self, which: &ProcessRef) -> Result<ProcessRecord, Error> {
        let table = self.processes()?;
        table.find(which).cloned().ok_or_else(|| self.no_process(which))
    }

    fn no_process(&self, which: &ProcessRef) -> Error {
        Error::NoProcess { name: self.name.clone(), process: which.to_string() }
    }

    /// Starts a process in the background of a container that runs; returns when it runs. Its output goes to the
    /// container's log, its input is /dev/null.
    pub fn spawn(&self, command: impl Into<Command>, options: SpawnOptions) -> Result<ProcessId, Error> {
        let spec = command.into().complete(&self.record()?.config, false);
        length::check(&self.name, std::slice::from_ref(&spec))?;
        let token = rand::rng().random();
        self.refuse_paused()?;
        let SpawnOptions { name, restart } = options;
        let request = FromClient::Spawn { spec, name: name.map(String::from), restart, token };
        let mut connection = self.connect_running()?;
        let mut accepted = None;
        let mut asked = connection.send(&request, &[]);
        loop {
            match asked.and_then(|()| next_of_spawn(&mut connection, &mut accepted)) {
                Ok(process) => {
                    return process.map_err(|failure| Error::NotStarted { name: self.name.clone(), failure });
                }
                Err(ConnectionError::Ended) if self.status()? == Status::Running => {}
                Err(source) => return Err(Error::Monitor { name: self.name.clone(), source }),
            }
            // Its monitor has died: perhaps before, perhaps after it had the process started.
            connection = self.connect_running()?;
            asked = match self.processes()?.with_token(token) {
                Some(record) if record.pid.is_some() => return Ok(record.id),
                Some(ProcessRecord { id, ended: Some(ended), .. }) => {
                    return match &ended.end {
                        End::NotStarted(failure) => {
                            Err(Error::NotStarted { name: self.name.clone(), failure: failure.clone() })
                        }
                        End::Exited(_) | End::Lost => Ok(*id),
                    };
                }
                Some(record) => return Ok(record.id),
                None => connection.send(&request, &[]),
            };
        }
    }

    /// Sends a signal to a process and its group. One that ends on a signal which asks for that (INT, QUIT, KILL, TERM) is
    /// not started again, whatever its restart policy is.
    pub fn kill(&self, which: &ProcessRef, signal: u8) -> Result<(), Error> {
        loop {
            let process = self.process(which)?.id;
            self.refuse_paused()?;
            let mut connection = self.connect_running()?;
            match ask_to_signal(&mut connection, process, signal) {
                Ok(()) => return Ok(()),
                // By its name it may mean another one meanwhile, which was started instead.
                Err(ConnectionError::Refused(_)) if self.process(which)?.id != process => {}
                Err(ConnectionError::Ended) if self.status()? == Status::Running => {}
                Err(source) => return Err(Error::Monitor { name: self.name.clone(), source }),
            }
        }
    }

    /// Waits until a process has ended, at most `timeout`, and tells how; none if it still runs then.
    pub fn wait(&self, which: &ProcessRef, timeout: Option<Duration>) -> Result<Option<End>, Error> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let process = self.process(which)?.id;
        // Holds what is there of the container, should it be removed meanwhile.
        let mut logs = self.logs(LogQuery::default())?;
        loop {
            if let Some(ended) = logs.process(process)?.ended {
                return Ok(Some(ended.end));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            logs.wait(left)?;
        }
    }

    /// Watches what the container's processes do. Where the monitor has died, another one comes first: else nobody would
    /// note it.
    pub(super) fn watch(&self) -> Result<Watch, Error> {
        let mut monitor = self.connect_if_running()?;
        if let Some(connection) = &mut monitor
            && connection.send(&FromClient::Watch, &[]).is_err()
        {
            monitor = None;
        }
        Watch::begin(&self.paths, &self.name, monitor).map_err(|source| self.watch_error(source))
    }

    /// Waits for news, and sees to it that there is somebody who writes them.
    pub(super) fn wait_for_news(&self, watch: &mut Watch, timeout: Option<Duration>) -> Result<News, Error> {
        let mut news = watch.wait(timeout).map_err(|source| self.watch_error(source))?;
        // A container's own end has its monitor's behind it.
        if news.unwatched && ContainerRecord::load(&self.paths, &self.name)?.is_some() {
            *watch = self.watch()?;
            news.processes = true;
        }
        Ok(news)
    }

    pub(super) fn watch_error(&self, source: std::io::Error) -> Error {
        Error::Watch { name: self.name.clone(), source }
    }

    /// A connection to the monitor if the container runs; where that has died, another one adopts it first.
    fn connect_if_running(&self) -> Result<Option<Connection>, Error> {
        if self.status()? != Status::Running {
            return Ok(None);
        }
        match monitor::connect(&self.paths, &self.name) {
            Ok(connection) => Ok(Some(connection)),
            Err(_) if self.status()? != Status::Running => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A connection to the monitor of this container, which must run.
    pub(super) fn connect_running(&self) -> Result<Connection, Error> {
        loop {
            match self.status()? {
                Status::Running | Status::Paused => {
                    if let Some(connection) = self.connect_if_running()? {
                        return Ok(connection);
                    }
                }
                Status::Stopped | Status::Ended => return Err(Error::NotRunning { name: self.name.clone() }),
                // Somebody starts it, or works on its files, and holds its lock meanwhile.
                Status::Busy => drop(self.lock()?),
            }
        }
    }
}

fn ask_to_signal(connection: &mut Connection, process: ProcessId, signal: u8) -> Result<(), ConnectionError> {
    connection.send(&FromClient::SignalProcess { process, signal }, &[])?;
    loop {
        match connection.receive(monitor::READY_TIMEOUT)? {
            ToClient::Done => return Ok(()),
            ToClient::Stopped => return Err(ConnectionError::Stopping),
            _ => {}
        }
    }
}

/// The number of the process, once it runs.
fn next_of_spawn(
    connection: &mut Connection,
    accepted: &mut Option<ProcessId>,
) -> Result<Result<ProcessId, SpawnFailure>, ConnectionError> {
    loop {
        match (connection.receive(monitor::READY_TIMEOUT)?, *accepted) {
            (ToClient::Accepted { process, .. }, _) => *accepted = Some(process),
            (ToClient::Started { .. } | ToClient::Exited { .. }, Some(process)) => return Ok(Ok(process)),
            (ToClient::SpawnFailed { failure }, Some(_)) => return Ok(Err(failure)),
            (ToClient::Stopping | ToClient::Stopped, _) => return Err(ConnectionError::Stopping),
            _ => {}
        }
    }
}
