//! Follows one foreground command: its input, its output, its end.

use std::time::Duration;

use appcontainers_wire::{
    ExitStatus, ProcessId, SpawnFailure,
    agent::OUTPUT_WINDOW_BYTES,
    client::{FromClient, ToClient},
};
use rustix::event::{PollFd, PollFlags};

use super::{
    Connection, ConnectionError, End, RunError, RunStreams,
    input::Input,
    passing::{pass_signals_on, tell},
    read_processes,
};
use crate::output::ForegroundReader;

/// How often the monitor hears how far the log was read, in bytes.
const CONSUMED_STEP_BYTES: u64 = 4 * 1024 * 1024;

/// How often it hears how much was passed on of output that it sends itself: within the agent's window.
const DIRECT_STEP_BYTES: u64 = OUTPUT_WINDOW_BYTES / 4;

/// Follows a command that the monitor has accepted (see [`Connection::wait_accepted`]).
#[derive(Debug)]
pub struct Follower {
    streams: RunStreams,
    process: ProcessId,
    log: ForegroundReader,
    input: Input,
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

impl Follower {
    /// Begins to follow a command; `log` was opened before it was asked for.
    pub fn begin(
        (process, position): (ProcessId, u64),
        mut log: ForegroundReader,
        streams: RunStreams,
    ) -> Result<Self, RunError> {
        log.begin(process, position)?;
        Ok(Self {
            streams,
            process,
            log,
            input: Input::default(),
            logged: position,
            told: position,
            told_bytes: 0,
            passed_bytes: 0,
            ended: None,
            not_started: None,
            stopping: false,
            over: None,
        })
    }

    /// Follows the command until it has ended and all its output is passed on. After [`ConnectionError::Ended`] it can be
    /// gone on with over another connection, see [`Follower::claim`].
    pub fn follow(&mut self, connection: &mut Connection) -> Result<ExitStatus, RunError> {
        loop {
            while let Some((message, payload)) = connection.pending()? {
                self.take(message, &payload, connection)?;
            }
            // Whatever has happened: what is in the log is passed on first.
            self.pass_output_on(connection)?;
            if (!self.stopping || self.over.is_some())
                && let Some(outcome) = self.outcome()
            {
                return outcome;
            }
            if let Some(error) = self.over.take() {
                return Err(error);
            }
            self.wait(connection)?;
        }
    }

    /// Asks the monitor that has adopted the container for this command, and sends again what of its input was lost.
    pub fn claim(&mut self, connection: &mut Connection, timeout: Duration) -> Result<(), RunError> {
        connection.send(&FromClient::Claim { process: self.process }, &[])?;
        loop {
            match connection.receive(timeout)? {
                ToClient::Claimed { input_bytes, taken_bytes, .. } => {
                    (self.told, self.told_bytes, self.stopping) = (0, 0, false);
                    self.tell_consumed(connection)?;
                    self.streams.tell_size(connection)?;
                    return self.input.send_again(connection, input_bytes, taken_bytes);
                }
                ToClient::Stopped => return Err(RunError::ContainerStopped),
                _ => {}
            }
        }
    }

    /// The container has ended without a monitor: passes on what of the output is in the log. How the command ended, if
    /// that was noted.
    pub fn finish(&mut self, connection: &mut Connection) -> Result<ExitStatus, RunError> {
        while let Some(record) = self.log.next(None)? {
            self.streams.pass_on(record.header.stream, record.payload, connection)?;
        }
        let table = read_processes(&self.log.container_directory())?;
        match table.get(self.process).and_then(|record| record.ended.as_ref()).map(|ended| &ended.end) {
            Some(End::Exited(status)) => Ok(*status),
            Some(End::NotStarted(failure)) => Err(RunError::NotStarted(failure.clone())),
            Some(End::Lost) | None => Err(RunError::ContainerStopped),
        }
    }

    /// How the command ended, once all its output is passed on.
    fn outcome(&self) -> Option<Result<ExitStatus, RunError>> {
        if let Some(failure) = &self.not_started {
            return Some(Err(RunError::NotStarted(failure.clone())));
        }
        let (status, position) = self.ended?;
        (self.log.position() >= position).then_some(Ok(status))
    }

    fn take(&mut self, message: ToClient, payload: &[u8], connection: &mut Connection) -> Result<(), RunError> {
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
            ToClient::StdinCredit { bytes } => self.input.credited(bytes),
            ToClient::Exited { status, position } => {
                self.logged = self.logged.max(position);
                self.ended = Some((status, position));
            }
            // Why it was ended may have come just before.
            ToClient::Stopped if matches!(self.over, Some(RunError::Connection(ConnectionError::Refused(_)))) => {}
            ToClient::Stopped => self.over = Some(RunError::ContainerStopped),
            ToClient::Output { stream } => {
                self.streams.pass_on(stream, payload, connection)?;
                self.passed_bytes += payload.len() as u64;
                if self.passed_bytes - self.told_bytes >= DIRECT_STEP_BYTES {
                    self.tell_consumed(connection)?;
                }
            }
        }
        Ok(())
    }

    fn pass_output_on(&mut self, connection: &mut Connection) -> Result<(), RunError> {
        while let Some(record) = self.log.next(Some(self.logged))? {
            self.streams.pass_on(record.header.stream, record.payload, connection)?;
            self.passed_bytes += record.payload.len() as u64;
            if self.log.position() - self.told >= CONSUMED_STEP_BYTES {
                self.tell_consumed(connection)?;
            }
        }
        if self.log.position() - self.told >= CONSUMED_STEP_BYTES {
            self.tell_consumed(connection)?;
        }
        Ok(())
    }

    fn tell_consumed(&mut self, connection: &mut Connection) -> Result<(), RunError> {
        (self.told, self.told_bytes) = (self.log.position(), self.passed_bytes);
        let consumed = FromClient::Consumed { position: self.told, passed_bytes: self.passed_bytes };
        tell(connection, &consumed, &[])
    }

    /// Waits for the monitor, for input that may be sent, or for a signal, and takes it.
    fn wait(&mut self, connection: &mut Connection) -> Result<(), RunError> {
        let (message, input, signal) = {
            let mut fds = vec![PollFd::new(&*connection, PollFlags::IN)];
            let stdin = self.streams.stdin.as_ref().filter(|_| self.input.credit() > 0);
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
        if message {
            match connection.read_more() {
                Err(ConnectionError::Ended) => self.over = Some(ConnectionError::Ended.into()),
                read => read?,
            }
        }
        if input {
            self.input.pass_on(&mut self.streams.stdin, connection)?;
        }
        if signal {
            pass_signals_on(&mut self.streams.signals, self.streams.terminal.as_ref(), connection)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };

    use appcontainers_wire::{Stream, encode, frame};

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
            terminal: None,
        };
        let reader = ForegroundReader::open(&log).unwrap();
        let mut follower = Follower::begin((process, 0), reader, streams).unwrap();
        let followed = follower.follow(&mut Connection::from_stream(ours));
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
    fn why_a_container_was_ended_is_not_hidden_by_its_end() {
        let said = [
            ToClient::Failed { message: "nonsense".to_owned() },
            ToClient::Logged { position: LAST },
            ToClient::Stopped,
        ];
        let (followed, passed_on) = follow_to_the_end(b"last", &said);
        assert!(
            matches!(&followed, Err(RunError::Connection(ConnectionError::Refused(why))) if why == "nonsense"),
            "{followed:?}"
        );
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
