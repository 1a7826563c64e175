//! The end of a file in a container, and what is appended to it.

use std::{fs::File, io::ErrorKind};

use appcontainers_wire::ExitStatus;

use super::{from_working_dir, operation::Operation, user_option};
use crate::{Container, Error, error::io_error, process::RunError};

/// How much of a file to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailOptions {
    /// How many lines from the end.
    pub lines: u64,
    /// Go on with what is appended, by name: when another file takes the name it is shown from its beginning. The
    /// container must run.
    pub follow: bool,
}

impl Default for TailOptions {
    fn default() -> Self {
        Self { lines: 10, follow: false }
    }
}

impl Container {
    /// Writes the last lines of a file of the container to `output`. When that is followed, it ends with the container, or
    /// when nobody reads `output` any more. A relative path starts from the container's working directory, else its
    /// user's home.
    pub fn tail(&self, path: &str, options: TailOptions, output: File) -> Result<(), Error> {
        let config = self.record()?.config;
        let mut argv = vec!["tail".to_owned(), "--lines".to_owned(), options.lines.to_string()];
        argv.extend(options.follow.then(|| "--follow".to_owned()));
        argv.extend(user_option(&config));
        argv.push(from_working_dir(&config, path));
        let operation = Operation { argv, needs_running: options.follow, ..Operation::default() };
        match self.stream_out(operation, output, None) {
            Ok((_, Err(error))) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Ok((_, Err(error))) => Err(io_error("write", "what is in the file")(error)),
            // The container was stopped, and its processes with it.
            Ok((operated, Ok(()))) if options.follow && matches!(operated.status, ExitStatus::Signal(_)) => Ok(()),
            Err(Error::Files { source: RunError::ContainerStopped, .. }) if options.follow => Ok(()),
            Ok((operated, Ok(()))) => operated.check(self),
            Err(error) => Err(error),
        }
    }
}
