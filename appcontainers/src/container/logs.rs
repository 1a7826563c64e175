//! Reading a container's log: what was printed, and what is printed from now on.

use std::{collections::VecDeque, time::Duration};

use appcontainers_wire::{ProcessId, Stream};
use jiff::Timestamp;

use super::Container;
use crate::{
    Error,
    output::{LogError, LogReader, Record, RecordHeader},
    process::{News, ProcessRecord, Watch, read_processes},
};

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only this process.
    pub process: Option<ProcessId>,
    /// Only this stream.
    pub stream: Option<Stream>,
    /// Only what was printed at or after this time.
    pub since: Option<Timestamp>,
    /// Only so many lines before the log's present end.
    pub tail: Option<usize>,
}

impl LogQuery {
    fn matches(&self, header: &RecordHeader) -> bool {
        let since = self.since.map_or(0, |since| u64::try_from(since.as_nanosecond()).unwrap_or(0));
        self.process.is_none_or(|process| process == header.process)
            && self.stream.is_none_or(|stream| stream == header.stream)
            && header.time_ns >= since
    }
}

/// What comes next of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPiece<'a> {
    /// Output.
    Output(Record<'a>),
    /// So many bytes of the log were dropped, or printed too long ago, before they could be read.
    Dropped {
        /// Bytes of the log, all processes together.
        bytes: u64,
    },
}

/// A reader of a container's log. It holds nobody up: what its slowness costs, it alone pays.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{LogPiece, LogQuery, Paths, Service};
///
/// let web = Service::open(Paths::from_env()?).container(&"web".parse()?)?;
/// let mut logs = web.logs(LogQuery { tail: Some(10), ..Default::default() })?;
/// loop {
///     while let Some(piece) = logs.next_piece()? {
///         match piece {
///             LogPiece::Output(record) => print!("{}", String::from_utf8_lossy(record.payload)),
///             LogPiece::Dropped { bytes } => eprintln!("{bytes} bytes are gone"),
///         }
///     }
///     logs.wait(None)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Logs {
    container: Container,
    reader: LogReader,
    query: LogQuery,
    /// Bytes at the start of the next record that are before what is wanted.
    skipped: usize,
    watch: Option<Watch>,
}

impl Container {
    /// What the container's processes have printed; [`Logs::wait`] waits for more.
    pub fn logs(&self, query: LogQuery) -> Result<Logs, Error> {
        let log = self.paths.container_log(&self.name);
        if !log.exists() {
            // It was never started: there is nothing yet, and a place for what comes.
            self.record()?;
            crate::state::create_directory(&log, 0o700).map_err(crate::error::io_error("create", &log))?;
        }
        let reader = LogReader::open(&log)?;
        let mut logs = Logs { container: self.clone(), reader, query, skipped: 0, watch: None };
        logs.reader.skip_dropped()?;
        if let Some(lines) = logs.query.tail {
            logs.seek_last_lines(lines)?;
        }
        Ok(logs)
    }
}

impl Logs {
    /// The next piece that is there.
    pub fn next_piece(&mut self) -> Result<Option<LogPiece<'_>>, Error> {
        let (header, skipped) = loop {
            match self.reader.advance(None) {
                Ok(None) => return Ok(None),
                Ok(Some(header)) if self.query.matches(&header) => {
                    let skipped = std::mem::take(&mut self.skipped);
                    if skipped < header.length as usize {
                        break (header, skipped);
                    }
                }
                Ok(Some(_)) => {}
                Err(LogError::NoRecord { .. }) => {
                    let bytes = self.reader.skip_dropped()?;
                    if bytes == 0 {
                        return Err(self.reader.no_record().into());
                    }
                    return Ok(Some(LogPiece::Dropped { bytes }));
                }
                Err(error) => return Err(error.into()),
            }
        };
        let payload = self.reader.payload().get(skipped..).unwrap_or_default();
        let header = RecordHeader { offset: header.offset + skipped as u64, length: payload.len() as u32, ..header };
        Ok(Some(LogPiece::Output(Record { header, payload })))
    }

    /// Up to where the log is read.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// Goes on from there, a position that the log is known to have or to have had.
    pub(crate) fn seek(&mut self, position: u64) {
        self.reader.seek(position);
        self.skipped = 0;
    }

    /// One of the container's processes, as it stands now: also when the container is removed, for as long as this reader
    /// is there.
    pub(super) fn process(&self, process: ProcessId) -> Result<ProcessRecord, Error> {
        let name = || self.container.name.clone();
        let mut table = read_processes(&self.reader.container_directory())?;
        self.container.lose_dead(&mut table)?;
        let record = table.get(process).cloned();
        record.ok_or_else(|| Error::NoProcess { name: name(), process: process.to_string() })
    }

    /// Waits for news of the container, at most `timeout`: there may be more output then, or not.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<News, Error> {
        match &mut self.watch {
            Some(watch) => self.container.wait_for_news(watch, timeout),
            // What came before the watch began is found by looking once more.
            None => {
                self.watch = Some(self.container.watch()?);
                Ok(News { processes: true, unwatched: false })
            }
        }
    }

    /// Moves to where the last `lines` lines begin, in the order in which they were written.
    fn seek_last_lines(&mut self, lines: usize) -> Result<(), Error> {
        // Behind each of the last line ends, as a record's position and a place in its payload.
        let mut line_starts = VecDeque::with_capacity(lines.min(100_000) + 2);
        let mut first = None;
        let mut ends_with_line = true;
        while let Some(header) = self.reader.advance(None)? {
            if !self.query.matches(&header) {
                continue;
            }
            let position = self.reader.position() - header.record_bytes();
            first.get_or_insert((position, 0));
            let payload = self.reader.payload();
            for (at, _) in payload.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                line_starts.push_back((position, at + 1));
                if line_starts.len() > lines + 1 {
                    line_starts.pop_front();
                }
            }
            ends_with_line = payload.last() == Some(&b'\n');
        }
        let end = (self.reader.position(), 0);
        let before = if ends_with_line { lines + 1 } else { lines };
        let start = match line_starts.len().checked_sub(before) {
            _ if lines == 0 => end,
            Some(at) => line_starts[at],
            None => first.unwrap_or(end),
        };
        self.reader.seek(start.0);
        self.skipped = start.1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Paths, output::LogWriter};

    fn container_that_printed(pieces: &[&str]) -> (tempfile::TempDir, Container) {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path(), place.path().join("run"));
        let name: crate::ContainerName = "web".parse().unwrap();
        let log = paths.container_log(&name);
        std::fs::create_dir_all(&log).unwrap();
        let mut writer = LogWriter::open(&log).unwrap();
        let mut offset = 0;
        for (at, piece) in pieces.iter().enumerate() {
            let header = RecordHeader {
                process: ProcessId(1),
                stream: Stream::Stdout,
                offset,
                time_ns: at as u64,
                length: piece.len() as u32,
            };
            writer.append(&header, piece.as_bytes()).unwrap();
            offset += piece.len() as u64;
        }
        (place, Container { paths, name })
    }

    fn read(container: &Container, query: LogQuery) -> String {
        let mut logs = container.logs(query).unwrap();
        let mut text = String::new();
        while let Some(piece) = logs.next_piece().unwrap() {
            match piece {
                LogPiece::Output(record) => text.push_str(std::str::from_utf8(record.payload).unwrap()),
                LogPiece::Dropped { .. } => panic!("nothing was dropped"),
            }
        }
        text
    }

    #[test]
    fn the_last_lines_are_counted_over_records_and_an_unfinished_one_counts() {
        let (_place, container) = container_that_printed(&["one\ntw", "o\nthree\n", "four\n"]);
        let tail = |lines| read(&container, LogQuery { tail: Some(lines), ..LogQuery::default() });
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "four\n");
        assert_eq!(tail(2), "three\nfour\n");
        assert_eq!(tail(3), "two\nthree\nfour\n");
        assert_eq!(tail(4), "one\ntwo\nthree\nfour\n");
        assert_eq!(tail(9), "one\ntwo\nthree\nfour\n");
        let (_place, container) = container_that_printed(&["one\ntwo\nthr", "ee"]);
        let tail = |lines| read(&container, LogQuery { tail: Some(lines), ..LogQuery::default() });
        assert_eq!(tail(1), "three");
        assert_eq!(tail(2), "two\nthree");
        assert_eq!(tail(5), "one\ntwo\nthree");
    }

    #[test]
    fn only_what_is_asked_for_comes() {
        let (_place, container) = container_that_printed(&["a", "b", "c"]);
        let query = LogQuery { since: Some(Timestamp::from_nanosecond(1).unwrap()), ..LogQuery::default() };
        assert_eq!(read(&container, query), "bc");
        assert_eq!(read(&container, LogQuery { process: Some(ProcessId(2)), ..LogQuery::default() }), "");
        assert_eq!(read(&container, LogQuery { stream: Some(Stream::Stderr), ..LogQuery::default() }), "");
    }
}
