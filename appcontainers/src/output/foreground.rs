//! Reads what one foreground command prints, every byte of it, whatever else the log drops meanwhile.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use appcontainers_wire::{ProcessId, Stream};

use super::{LOG_ITSELF, LogError, LogReader, Record, RecordHeader, held, io_error};

/// A cursor that stops at one process's records only.
#[derive(Debug)]
pub struct ForegroundReader {
    log: LogReader,
    process: ProcessId,
    /// How much of each stream has been read: segments and what is held of them may tell the same twice.
    read: [u64; 2],
    held: Option<Held>,
    /// Whether the last record came from there.
    from_held: bool,
}

/// What is held of segments that were dropped before they were read.
#[derive(Debug)]
struct Held {
    file: BufReader<File>,
    payload: Vec<u8>,
    /// The position of the first segment of which nothing is held.
    go_on: u64,
}

impl ForegroundReader {
    /// Opens the log in directory `path` before the command is asked for: it may be gone the moment after.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let log = LogReader::open_locking(path)?;
        Ok(Self { log, process: LOG_ITSELF, read: [0; 2], held: None, from_held: false })
    }

    /// Reads this process's output, which comes at or behind `position`.
    pub fn begin(&mut self, process: ProcessId, position: u64) -> Result<(), LogError> {
        self.process = process;
        self.log.seek(position);
        self.log.hold_segment()
    }

    /// The directory of the container whose log this is, also when it is removed.
    pub(crate) fn container_directory(&self) -> PathBuf {
        self.log.container_directory()
    }

    /// Up to where the log is read.
    pub fn position(&self) -> u64 {
        self.log.position()
    }

    /// The process's next record before `end`, a position up to which the log is known to be written; without one, the
    /// next that is whole.
    pub fn next(&mut self, end: Option<u64>) -> Result<Option<Record<'_>>, LogError> {
        let header = loop {
            let found = if self.from_held { self.next_held()? } else { self.next_in_log(end)? };
            match found {
                Found::End => return Ok(None),
                Found::Elsewhere => {}
                Found::Record(header) if self.is_news(&header) => break header,
                Found::Record(_) => {}
            }
        };
        let payload = match &self.held {
            Some(held) if self.from_held => &held.payload,
            _ => self.log.payload(),
        };
        Ok(Some(Record { header, payload }))
    }

    fn is_news(&mut self, header: &RecordHeader) -> bool {
        let read = &mut self.read[match header.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }];
        let is_news = header.process == self.process && header.offset >= *read;
        if is_news {
            *read = header.offset.saturating_add(header.length.into());
        }
        is_news
    }

    fn next_in_log(&mut self, end: Option<u64>) -> Result<Found, LogError> {
        match self.log.advance(end) {
            Ok(header) => Ok(header.map_or(Found::End, Found::Record)),
            Err(error @ LogError::NoRecord { .. }) => {
                if self.held.is_none() {
                    self.held = self.open_held()?;
                }
                if self.held.is_none() {
                    return Err(error);
                }
                self.from_held = true;
                Ok(Found::Elsewhere)
            }
            Err(error) => Err(error),
        }
    }

    fn next_held(&mut self) -> Result<Found, LogError> {
        let Some(held) = &mut self.held else { return Err(self.log.no_record()) };
        let path = held::path(&self.log.directory(), self.process);
        match held.next().map_err(io_error("read", &path))? {
            Some(header) => Ok(Found::Record(header)),
            None if held.go_on > self.log.position() => {
                self.log.seek(held.go_on);
                self.from_held = false;
                Ok(Found::Elsewhere)
            }
            None => Err(self.log.no_record()),
        }
    }

    fn open_held(&self) -> Result<Option<Held>, LogError> {
        let path = held::path(&self.log.directory(), self.process);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                let file = BufReader::new(opened.map_err(io_error("open", &path))?);
                Ok(Some(Held { file, payload: Vec::new(), go_on: 0 }))
            }
        }
    }
}

enum Found {
    Record(RecordHeader),
    /// To be asked for once more.
    Elsewhere,
    End,
}

impl Held {
    /// The next record that is whole.
    fn next(&mut self) -> io::Result<Option<RecordHeader>> {
        loop {
            let at = self.file.stream_position()?;
            match self.read_one() {
                Ok(header) if header.process == LOG_ITSELF => self.go_on = header.offset,
                Ok(header) => return Ok(Some(header)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    // The rest may be on its way.
                    self.file.seek(io::SeekFrom::Start(at))?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_one(&mut self) -> io::Result<RecordHeader> {
        let mut bytes = [0; RecordHeader::BYTES];
        self.file.read_exact(&mut bytes)?;
        let header = RecordHeader::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        self.payload.resize(header.length as usize, 0);
        self.file.read_exact(&mut self.payload)?;
        Ok(header)
    }
}
