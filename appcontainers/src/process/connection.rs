//! A client's connection to a container's monitor.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use appcontainers_wire::{
    ProcessId, WIRE_VERSION, WireError,
    client::{FromClient, ToClient},
    decode, encode, frame,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
};

/// Why a monitor was not reached or not understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// Nothing answers at the monitor's socket.
    #[error("cannot reach the monitor at {}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The monitor went away in the middle.
    #[error("the container's monitor ended")]
    Ended,
    /// The connection broke.
    #[error("the connection to the container's monitor broke")]
    Broken(#[source] io::Error),
    /// Nothing came in time.
    #[error("the container's monitor did not answer within {} s", timeout.as_secs())]
    TimedOut {
        /// How long it was waited for.
        timeout: Duration,
    },
    /// Not a message.
    #[error("the container's monitor sent what is no message")]
    Message(#[from] WireError),
    /// A monitor of another version.
    #[error("the container's monitor speaks version {theirs} and this program {WIRE_VERSION}; restart the container")]
    Version {
        /// The monitor's wire version.
        theirs: u32,
    },
    /// The container is on its way down.
    #[error("the container is stopping")]
    Stopping,
    /// The monitor says what failed.
    #[error("{0}")]
    Refused(String),
}

/// A stream of messages to and from a monitor; the monitor takes its end as the client's.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    incoming: Vec<u8>,
}

impl Connection {
    /// Connects to the monitor whose socket `client.sock` is in `directory`.
    pub fn open(directory: &Path) -> Result<Self, ConnectionError> {
        let path = directory.join("client.sock");
        let unreachable = |source| ConnectionError::Unreachable { path: path.clone(), source };
        // A socket's path has 107 bytes at the most (unix(7)); one through /proc is always short.
        let handle = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| unreachable(errno.into()))?;
        let short = format!("/proc/self/fd/{}/client.sock", handle.as_raw_fd());
        Ok(Self::from_stream(UnixStream::connect(short).map_err(unreachable)?))
    }

    /// A connection over a socket that the monitor already has the other end of.
    pub fn from_stream(stream: UnixStream) -> Self {
        Self { stream, incoming: Vec::new() }
    }

    /// Two ends: a connection, and what a new monitor takes as its first client.
    pub fn pair() -> Result<(Self, OwnedFd), ConnectionError> {
        let (ours, theirs) = UnixStream::pair().map_err(ConnectionError::Broken)?;
        Ok((Self::from_stream(ours), theirs.into()))
    }

    /// Sends a message.
    pub fn send(&mut self, message: &FromClient, payload: &[u8]) -> Result<(), ConnectionError> {
        let mut bytes = Vec::with_capacity(128 + payload.len());
        frame::push(&mut bytes, &encode(message)?, payload)?;
        self.stream.write_all(&bytes).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectionError::Ended,
            _ => ConnectionError::Broken(error),
        })
    }

    /// The next message that has come whole, and its payload; does not wait.
    pub fn pending(&mut self) -> Result<Option<(ToClient, Vec<u8>)>, ConnectionError> {
        let Some(found) = frame::peek(&self.incoming)? else { return Ok(None) };
        let (message, payload, length) = (decode(found.header)?, found.payload.to_vec(), found.length);
        self.incoming.drain(..length);
        Ok(Some((message, payload)))
    }

    /// Reads what has come; waits if nothing has. Returns [`ConnectionError::Ended`] at the end.
    pub fn read_more(&mut self) -> Result<(), ConnectionError> {
        let mut buffer = [0; 128 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ConnectionError::Ended),
            Ok(read) => {
                self.incoming.extend_from_slice(&buffer[..read]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(ConnectionError::Ended),
            Err(error) => Err(ConnectionError::Broken(error)),
        }
    }

    /// Waits for the next message, at most `timeout`. A `Failed` message is an error, as is the `Ready` of a monitor of
    /// another version: every connection begins with one.
    pub fn receive(&mut self, timeout: Duration) -> Result<ToClient, ConnectionError> {
        let until = Instant::now() + timeout;
        loop {
            match self.pending()? {
                Some((ToClient::Failed { message }, _)) => return Err(ConnectionError::Refused(message)),
                Some((ToClient::Ready { wire, .. }, _)) if wire != WIRE_VERSION => {
                    return Err(ConnectionError::Version { theirs: wire });
                }
                Some((message, _)) => return Ok(message),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match rustix::event::poll(&mut fds, Some(&wait)) {
                Ok(0) => return Err(ConnectionError::TimedOut { timeout }),
                Ok(_) => self.read_more()?,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(ConnectionError::Broken(errno.into())),
            }
        }
    }

    /// Waits until the monitor has accepted the command of [`FromClient::Run`]: its name, and the position in the log
    /// from which on its output comes.
    pub fn wait_accepted(&mut self, timeout: Duration) -> Result<(ProcessId, u64), ConnectionError> {
        loop {
            match self.receive(timeout)? {
                ToClient::Accepted { process, position } => return Ok((process, position)),
                ToClient::Stopping | ToClient::Stopped => return Err(ConnectionError::Stopping),
                _ => {}
            }
        }
    }

    /// Waits until the monitor says that the container runs.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<(), ConnectionError> {
        loop {
            if let ToClient::Ready { .. } = self.receive(timeout)? {
                return Ok(());
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection to a monitor that says that it is of version `wire`, and nothing more.
    fn monitor(wire: u32) -> (Connection, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ready = encode(&ToClient::Ready { wire, init_pid: 1 }).unwrap();
        theirs.write_all(&frame::join(&ready, &[]).unwrap()).unwrap();
        (Connection::from_stream(ours), theirs)
    }

    #[test]
    fn a_monitor_of_another_version_is_named_whatever_is_waited_for() {
        const LONG: Duration = Duration::from_secs(3600);
        type Wait = fn(&mut Connection) -> Result<(), ConnectionError>;
        let waits: [Wait; 3] = [
            |connection| connection.receive(LONG).map(drop),
            |connection| connection.wait_ready(LONG),
            |connection| connection.wait_accepted(LONG).map(drop),
        ];
        for wait in waits {
            let (mut connection, _monitor) = monitor(WIRE_VERSION + 1);
            let error = wait(&mut connection).unwrap_err();
            assert!(matches!(error, ConnectionError::Version { theirs } if theirs == WIRE_VERSION + 1), "{error}");
            assert!(error.to_string().contains("restart the container"), "{error}");
        }
        let (mut connection, _monitor) = monitor(WIRE_VERSION);
        connection.wait_ready(LONG).unwrap();
    }
}
