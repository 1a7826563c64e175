//! Watching one process: all that it prints, from its first byte on, and how it ends.

use std::fs::File;

use appcontainers_wire::Stream;

use super::{Container, LogPiece, LogQuery};
use crate::{
    Error,
    error::io_error,
    process::{End, ProcessRef},
};

/// Where a watched process's output goes.
#[derive(Debug)]
pub struct AttachStreams {
    /// Gets standard output.
    pub stdout: File,
    /// Gets standard error.
    pub stderr: File,
}

impl Container {
    /// Passes on all that a process has printed and will print, until it has ended; tells how. `dropped` hears of bytes of
    /// the log that are gone: a watcher does not hold the process up, however slow it is.
    pub fn attach(
        &self,
        which: &ProcessRef,
        mut streams: AttachStreams,
        mut dropped: impl FnMut(u64),
    ) -> Result<End, Error> {
        let mut record = self.process(which)?;
        let process = record.id;
        let mut logs = self.logs(LogQuery { process: Some(process), ..LogQuery::default() })?;
        logs.seek(record.position);
        loop {
            while let Some(piece) = logs.next_piece()? {
                match piece {
                    LogPiece::Output(output) => streams.write(output.header.stream, output.payload)?,
                    LogPiece::Dropped { bytes } => dropped(bytes),
                }
            }
            // What was printed before the end was in the log before the end was noted.
            if let Some(ended) = &record.ended
                && (logs.position() >= ended.position || ended.end == End::Lost)
            {
                return Ok(ended.end.clone());
            }
            if logs.wait(None)?.processes {
                record = logs.process(process)?;
            }
        }
    }
}

impl AttachStreams {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Error> {
        use std::io::Write as _;
        let (file, name) = match stream {
            Stream::Stdout => (&mut self.stdout, "standard output"),
            Stream::Stderr => (&mut self.stderr, "standard error"),
        };
        file.write_all(bytes).map_err(io_error("write to", name))
    }
}
