//! Follows one foreground command: its input, its output, its end.

use std::{
    io::{self, Read},
};

use appcontainers_wire::{
    ExitStatus, ProcessId, SpawnFailure, Stream,
    agent::{CHUNK_BYTES, OUTPUT_WINDOW_BYTES},
    client::{FromClient, ToClient},
};
use rustix::event::{PollFd, PollFlags};

use super::{
    Connection, ConnectionError,
    RunStreams,
    passing::{pass_signals_on, tell},
};
use crate::output::{ForegroundReader, LogError};

/// How often the monitor hears how far the log was read, in bytes.
const CONSUMED_STEP_BYTES: u64 = 4 * 1024 * 1024;

/// How often it hears how much was passed on of output that it sends itself: within the agent's window.
const DIRECT_STEP_BYTES: u64 = OUTPUT_WINDOW_BYTES / 4;

/// Why a foreground command's end is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The command was not started.
    #[error("{0}")]
    NotStarted(SpawnFailure),
    /// The container ended before the command's end was known.
    #[error("the container stopped while the command ran")]
    ContainerStopped,
    /// The monitor was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The output can't be read back.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The command's output can't be written where the caller wants it.
    #[error("cannot pass the command's {stream:?} on")]
    Output {
        /// Which stream.
        stream: Stream,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Standard input can't be read, or waiting failed.
    #[error("cannot read the command's standard input")]
    Input(#[source] io::Error),
}

/// Follows a command that the monitor has accepted (see [`Connection::wait_accepted`]) until it has ended and all its
/// output, read from `log` (opened before the command was asked for), is passed on.
pub fn follow(
    connection: &mut Connection,
    (process, position): (ProcessId, u64),
    mut log: ForegroundReader,
    streams: RunStreams,
) -> Result<ExitStatus, RunError> {
    log.begin(process, position)?;
    let mut follower = Follower {
        connection,
        streams,
        log,
        credit: 0,
        logged: position,
        told: position,
        told_bytes: 0,
        passed_bytes: 0,
        ended: None,
        not_started: None,
        stopping: false,
        over: None,
    };
    loop {
        while let Some((message, payload)) = follower.connection.pending()? {
            follower.take(message, &payload)?;
        }
        // Whatever has happened: what is in the log is passed on first.
        follower.pass_output_on()?;
        if (!follower.stopping || follower.over.is_some())
            && let Some(outcome) = follower.outcome()
        {
            return outcome;
        }
        if let Some(error) = follower.over {
            return Err(error);
        }
        follower.wait()?;
    }
}

struct Follower<'a> {
    connection: &'a mut Connection,
    streams: RunStreams,
    log: ForegroundReader,
    credit: u64,
    logged: u64,
    /// What the monitor has heard of it: the position in the log, and the bytes passed on.
    told: u64,
    told_bytes: u64,
    passed_bytes: u64,
    ended: Option<(ExitStatus, u64)>,
    not_started: Option<SpawnFailure>,
    /// The container is on its way down: whoever was the last one out waits for that, so that it is found stopped.
    stopping: bool,
    /// Why no more comes from the monitor.
    over: Option<RunError>,
}

impl Follower<'_> {
    /// How the command ended, once all its output is passed on.
    fn outcome(&self) -> Option<Result<ExitStatus, RunError>> {
        if let Some(failure) = &self.not_started {
            return Some(Err(RunError::NotStarted(failure.clone())));
        }
        let (status, position) = self.ended?;
        (self.log.position() >= position).then_some(Ok(status))
    }

    fn take(&mut self, message: ToClient, payload: &[u8]) -> Result<(), RunError> {
        match message {
            ToClient::Ready { .. }
            | ToClient::Accepted { .. }
            | ToClient::Started { .. }
            | ToClient::Frozen
            | ToClient::Claimed { .. }
            | ToClient::Done
            | ToClient::Kept { .. } => {}
            ToClient::Stopping => self.stopping = true,
            ToClient::Failed { message } => self.over = Some(ConnectionError::Refused(message).into()),
            ToClient::SpawnFailed { failure } => self.not_started = Some(failure),
            ToClient::Logged { position } => self.logged = position,
            ToClient::StdinCredit { bytes } => self.credit = self.credit.saturating_add(bytes),
            ToClient::Exited { status, position } => {
                self.logged = self.logged.max(position);
                self.ended = Some((status, position));
            }
            ToClient::Stopped => self.over = Some(RunError::ContainerStopped),
            ToClient::Output { stream } => {
                self.streams.pass_on(stream, payload, self.connection)?;
                self.passed_bytes += payload.len() as u64;
                if self.passed_bytes - self.told_bytes >= DIRECT_STEP_BYTES {
                    self.tell_consumed()?;
                }
            }
        }
        Ok(())
    }

    fn pass_output_on(&mut self) -> Result<(), RunError> {
        while let Some(record) = self.log.next(self.logged)? {
            self.streams.pass_on(record.header.stream, record.payload, self.connection)?;
            self.passed_bytes += record.payload.len() as u64;
            if self.log.position() - self.told >= CONSUMED_STEP_BYTES {
                self.tell_consumed()?;
            }
        }
        if self.log.position() - self.told >= CONSUMED_STEP_BYTES {
            self.tell_consumed()?;
        }
        Ok(())
    }

    fn tell_consumed(&mut self) -> Result<(), RunError> {
        (self.told, self.told_bytes) = (self.log.position(), self.passed_bytes);
        let consumed = FromClient::Consumed { position: self.told, passed_bytes: self.passed_bytes };
        tell(self.connection, &consumed, &[])
    }

    /// Waits for the monitor, for input that may be sent, or for a signal, and takes it.
    fn wait(&mut self) -> Result<(), RunError> {
        let (connection, input, signal) = {
            let mut fds = vec![PollFd::new(&*self.connection, PollFlags::IN)];
            let stdin = self.streams.stdin.as_ref().filter(|_| self.credit > 0);
            let input_at = stdin.map(|stdin| {
                fds.push(PollFd::new(stdin, PollFlags::IN));
                fds.len() - 1
            });
            let signal_at = self.streams.signals.as_ref().map(|signals| {
                fds.push(PollFd::new(signals, PollFlags::IN));
                fds.len() - 1
            });
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(RunError::Input(errno.into())),
            }
            let is_ready = |at: usize| !fds[at].revents().is_empty();
            (is_ready(0), input_at.is_some_and(is_ready), signal_at.is_some_and(is_ready))
        };
        if connection {
            match self.connection.read_more() {
                Err(ConnectionError::Ended) => self.over = Some(ConnectionError::Ended.into()),
                read => read?,
            }
        }
        if input {
            self.pass_input_on()?;
        }
        if signal {
            pass_signals_on(&mut self.streams.signals, self.connection)?;
        }
        Ok(())
    }

    fn pass_input_on(&mut self) -> Result<(), RunError> {
        let Some(stdin) = &mut self.streams.stdin else { return Ok(()) };
        let mut buffer = vec![0; CHUNK_BYTES.min(self.credit as usize)];
        match stdin.read(&mut buffer) {
            Ok(0) => {
                self.streams.stdin = None;
                tell(self.connection, &FromClient::StdinClose, &[])?;
            }
            Ok(read) => {
                self.credit -= read as u64;
                tell(self.connection, &FromClient::Stdin, &buffer[..read])?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(RunError::Input(error)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use appcontainers_wire::{encode, frame};

    use super::*;
    use crate::output::{LogWriter, RecordHeader};

    /// Behind the segment's own first record and one of four bytes.
    const LAST: u64 = 32 + 32 + 4;

    /// Follows a command whose monitor has said all this and has ended; how that came out, and standard output.
    fn follow_to_the_end(output: &[u8], said: &[ToClient]) -> (Result<ExitStatus, RunError>, Vec<u8>) {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("log");
        let mut writer = LogWriter::open(&log).unwrap();
        let (process, length) = (ProcessId(1), output.len() as u32);
        writer
            .append(&RecordHeader { process, stream: Stream::Stdout, offset: 0, time_ns: 0, length }, output)
            .unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut bytes = Vec::new();
        for message in said {
            frame::push(&mut bytes, &encode(message).unwrap(), &[]).unwrap();
        }
        (&theirs).write_all(&bytes).unwrap();
        drop(theirs);
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(b"input that nobody takes").unwrap();
        std::io::Seek::rewind(&mut stdin).unwrap();
        let mut stdout = tempfile::tempfile().unwrap();
        let streams = RunStreams {
            stdin: Some(stdin),
            stdout: Some(stdout.try_clone().unwrap()),
            stderr: None,
            signals: None,
        };
        let reader = ForegroundReader::open(&log).unwrap();
        let followed = follow(&mut Connection::from_stream(ours), (process, 0), reader, streams);
        let mut passed_on = Vec::new();
        std::io::Seek::rewind(&mut stdout).unwrap();
        stdout.read_to_end(&mut passed_on).unwrap();
        (followed, passed_on)
    }

    #[test]
    fn what_a_killed_container_wrote_last_is_passed_on() {
        let position = LAST;
        let (followed, passed_on) = follow_to_the_end(b"last", &[ToClient::Logged { position }, ToClient::Stopped]);
        assert!(matches!(followed, Err(RunError::ContainerStopped)), "{followed:?}");
        assert_eq!(passed_on, b"last");
    }

    #[test]
    fn a_monitor_that_has_ended_does_not_hide_how_the_command_ended() {
        let said = [
            ToClient::StdinCredit { bytes: 100 },
            ToClient::Stopping,
            ToClient::Exited { status: ExitStatus::Code(3), position: LAST },
        ];
        let (followed, passed_on) = follow_to_the_end(b"last", &said);
        assert_eq!(followed.unwrap(), ExitStatus::Code(3));
        assert_eq!(passed_on, b"last");
    }

    #[test]
    fn a_monitor_that_dies_is_no_stopped_container() {
        let (followed, _) = follow_to_the_end(b"last", &[]);
        assert!(matches!(followed, Err(RunError::Connection(ConnectionError::Ended))), "{followed:?}");
    }
}
