//! Where a foreground command's streams go and come from.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use appcontainers_wire::{Stream, client::FromClient};

use super::{
    Connection, RunError, Terminal,
    passing::{WriteError, tell, write_all},
};

/// SIGPIPE's number on every Linux architecture.
const SIGPIPE: u8 = 13;

/// A foreground command's streams.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Command, Paths, RunStreams, Service};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let streams = RunStreams::inherit()?.with_terminal()?;
/// let status = web.exec_with(Command::login_shell().on_terminal_of(&streams), streams)?;
/// println!("{status:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// The terminal that these streams are on, for a command that has one of its own: SIGWINCH among the signals then
    /// gives that one a new size.
    pub terminal: Option<Terminal>,
}

impl RunStreams {
    /// This program's own standard streams.
    pub fn inherit() -> io::Result<Self> {
        Ok(Self {
            stdin: Some(io::stdin().as_fd().try_clone_to_owned()?.into()),
            stdout: Some(io::stdout().as_fd().try_clone_to_owned()?.into()),
            stderr: Some(io::stderr().as_fd().try_clone_to_owned()?.into()),
            signals: None,
            terminal: None,
        })
    }

    /// Notes the terminal that these streams are on, if any. Where both input and output are, it is raw until the
    /// streams are dropped.
    pub fn with_terminal(mut self) -> io::Result<Self> {
        self.terminal = Terminal::find(self.stdin.as_ref(), self.stdout.as_ref())?;
        Ok(self)
    }

    /// Says how large the terminal is: what was said of it may be lost with a monitor.
    pub(super) fn tell_size(&self, connection: &mut Connection) -> Result<(), RunError> {
        match &self.terminal {
            Some(terminal) => tell(connection, &FromClient::Resize { size: terminal.size() }, &[]),
            None => Ok(()),
        }
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
        match write_all(file, bytes, &mut self.signals, self.terminal.as_ref(), connection) {
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
