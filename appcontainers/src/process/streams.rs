//! Where a foreground command's streams go and come from.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use appcontainers_wire::{Stream, client::FromClient};

use super::{
    Connection, RunError,
    passing::{WriteError, tell, write_all},
};

/// SIGPIPE's number on every Linux architecture.
const SIGPIPE: u8 = 13;

/// A foreground command's streams.
#[derive(Debug)]
pub struct RunStreams {
    /// Standard input, passed on as it comes; none if the command has none.
    pub stdin: Option<File>,
    /// Gets standard output; closed when its reader has gone.
    pub stdout: Option<File>,
    /// Gets standard error; closed when its reader has gone.
    pub stderr: Option<File>,
    /// Gives numbers of signals for the command, one byte each.
    pub signals: Option<OwnedFd>,
}

impl RunStreams {
    /// This program's own standard streams.
    pub fn inherit() -> io::Result<Self> {
        Ok(Self {
            stdin: Some(io::stdin().as_fd().try_clone_to_owned()?.into()),
            stdout: Some(io::stdout().as_fd().try_clone_to_owned()?.into()),
            stderr: Some(io::stderr().as_fd().try_clone_to_owned()?.into()),
            signals: None,
        })
    }

    /// Passes output on. When nobody reads it any more, the command hears of it as if it had written there itself.
    pub(super) fn pass_on(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        connection: &mut Connection,
    ) -> Result<(), RunError> {
        let place = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(file) = place else { return Ok(()) };
        match write_all(file, bytes, &mut self.signals, connection) {
            Ok(()) => Ok(()),
            Err(WriteError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                *place = None;
                tell(connection, &FromClient::Signal { signal: SIGPIPE }, &[])
            }
            Err(WriteError::Output(source)) => Err(RunError::Output { stream, source }),
            Err(WriteError::Other(error)) => Err(error),
        }
    }
}
