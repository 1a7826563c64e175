//! Follows a log with a cursor.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{LOG_ITSELF, LogError, Record, RecordHeader, gone, io_error, segment_name, segments};

/// How much is read from a segment at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A cursor in a log. The log is there while the cursor is, also when the container is removed.
///
/// # Examples
///
/// ```
/// use appcontainers::{
///     ProcessId, Stream,
///     output::{LogReader, LogWriter, RecordHeader},
/// };
///
/// let place = tempfile::tempdir()?;
/// let mut log = LogWriter::open(&place.path().join("log"))?;
/// let header = RecordHeader { process: ProcessId(1), stream: Stream::Stdout, offset: 0, time_ns: 0, length: 6 };
/// log.append(&header, b"hello\n")?;
///
/// let mut reader = LogReader::open(&place.path().join("log"))?;
/// let record = reader.next_whole()?.expect("a record is there");
/// assert_eq!((record.header.process, record.payload), (ProcessId(1), &b"hello\n"[..]));
/// assert!(reader.next_whole()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    directory: Option<File>,
    /// Whether the segment of the cursor is kept from being dropped, as far as a lock does that.
    locks: bool,
    position: u64,
    segment: Option<(u64, File)>,
    buffer: Vec<u8>,
    /// Where in the buffer the last record's payload is.
    payload: Range<usize>,
}

impl LogReader {
    /// A cursor at the start of the log in directory `path`.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let directory = gone::hold(path).map_err(io_error("open", path))?;
        let (path, directory) = (path.to_owned(), Some(directory));
        let (locks, position, segment) = (false, 0, None);
        Ok(Self { path, directory, locks, position, segment, buffer: Vec::new(), payload: 0..0 })
    }

    /// As [`LogReader::open`]; a later writer of this log, which knows nothing of this reader, drops nothing behind it.
    pub(super) fn open_locking(path: &Path) -> Result<Self, LogError> {
        let mut reader = Self::open(path)?;
        reader.locks = true;
        Ok(reader)
    }

    /// Moves the cursor to `position`, which is the position of a record or the log's end.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
        self.segment = None;
        self.forget_buffer();
    }

    /// Opens the segment of the cursor now, and not when it is read.
    pub(super) fn hold_segment(&mut self) -> Result<(), LogError> {
        self.segment = Some(self.open_segment()?);
        Ok(())
    }

    /// Moves the cursor to the oldest record that is there, if what is at the cursor has been dropped; how many bytes
    /// of the log that leaves out.
    pub fn skip_dropped(&mut self) -> Result<u64, LogError> {
        let first = segments(&self.directory())?.first().copied().unwrap_or(0);
        let left_out = first.saturating_sub(self.position);
        if left_out > 0 {
            self.seek(first);
        }
        Ok(left_out)
    }

    /// Where the cursor is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next record before `end`, a position up to which the log is known to be written.
    pub fn next(&mut self, end: u64) -> Result<Option<Record<'_>>, LogError> {
        let header = self.advance(Some(end))?;
        Ok(header.map(|header| Record { header, payload: self.payload() }))
    }

    /// The next record that is whole in the log, for those who don't know how far it goes.
    pub fn next_whole(&mut self) -> Result<Option<Record<'_>>, LogError> {
        let header = self.advance(None)?;
        Ok(header.map(|header| Record { header, payload: self.payload() }))
    }

    /// Moves behind the next record; its payload is [`LogReader::payload`] then.
    pub(crate) fn advance(&mut self, end: Option<u64>) -> Result<Option<RecordHeader>, LogError> {
        loop {
            if end.is_some_and(|end| self.position >= end) {
                return Ok(None);
            }
            let header = match self.whole_record(end)? {
                Some(header) => header,
                // It may be on its way, and what is there of it may yet be cut off.
                None if end.is_none() => {
                    self.forget_buffer();
                    return Ok(None);
                }
                None => return Err(self.no_record()),
            };
            let start = self.payload.end + RecordHeader::BYTES;
            self.payload = start..start + header.length as usize;
            self.position += header.record_bytes();
            if header.process != LOG_ITSELF {
                return Ok(Some(header));
            }
        }
    }

    /// The payload of the record that the cursor has passed last.
    pub(crate) fn payload(&self) -> &[u8] {
        self.buffer.get(self.payload.clone()).unwrap_or_default()
    }

    /// The header at the cursor, when the whole record is in the buffer.
    fn whole_record(&mut self, end: Option<u64>) -> Result<Option<RecordHeader>, LogError> {
        if !self.fill(RecordHeader::BYTES, end)? {
            return Ok(None);
        }
        let header = self.buffer[self.payload.end..].first_chunk().and_then(RecordHeader::decode);
        let header = header.ok_or_else(|| self.no_record())?;
        Ok(self.fill(header.record_bytes() as usize, end)?.then_some(header))
    }

    /// Has at least `wanted` bytes from the cursor on in the buffer, if the segment has them; whether it has.
    fn fill(&mut self, wanted: usize, end: Option<u64>) -> Result<bool, LogError> {
        if self.buffer.len() - self.payload.end >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.payload.end);
        self.payload = 0..0;
        let read_from = self.position + self.buffer.len() as u64;
        let (start, file) = match &self.segment {
            // A record never goes over a segment's end, so an empty buffer may mean the next segment.
            Some((start, file)) if !self.buffer.is_empty() || has_more(file, read_from - start) => (*start, file),
            _ => {
                let opened = self.open_segment()?;
                if !has_more(&opened.1, self.position - opened.0) {
                    // There is none behind, or it has just been begun.
                    return Ok(false);
                }
                let (start, file) = self.segment.insert(opened);
                (*start, &*file)
            }
        };
        let most = end.map_or(usize::MAX, |end| end.saturating_sub(read_from) as usize);
        let room = wanted.max(BUFFER_BYTES).min(most);
        let old = self.buffer.len();
        self.buffer.resize(old + room, 0);
        let mut got = old;
        while got < wanted {
            let at = self.position + got as u64 - start;
            let read = file.read_at(&mut self.buffer[got..], at).map_err(io_error("read", &self.path))?;
            if read == 0 {
                break;
            }
            got += read;
        }
        self.buffer.truncate(got);
        Ok(got >= wanted)
    }

    fn forget_buffer(&mut self) {
        self.buffer.clear();
        self.payload = 0..0;
    }

    fn open_segment(&self) -> Result<(u64, File), LogError> {
        let directory = self.directory();
        let start = segments(&directory)?.into_iter().rev().find(|start| *start <= self.position);
        let start = start.ok_or_else(|| self.no_record())?;
        let path = directory.join(segment_name(start));
        let file = match File::open(&path) {
            // Dropped this very moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.no_record()),
            opened => opened.map_err(io_error("open", &path))?,
        };
        if self.locks {
            flock(&file, FlockOperation::LockShared).map_err(|errno| io_error("lock", &path)(errno.into()))?;
        }
        Ok((start, file))
    }

    /// A path to the log's directory that holds also when that is renamed.
    pub(super) fn directory(&self) -> PathBuf {
        self.directory.as_ref().map_or_else(|| self.path.clone(), gone::handle_path)
    }

    /// The directory of the container whose log this is, also when it is removed.
    pub(crate) fn container_directory(&self) -> PathBuf {
        self.directory().join("..")
    }

    pub(crate) fn no_record(&self) -> LogError {
        LogError::NoRecord { path: self.path.clone(), position: self.position }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take() {
            gone::release(directory);
        }
    }
}

fn has_more(file: &File, offset: u64) -> bool {
    file.metadata().is_ok_and(|status| offset < status.len())
}

#[cfg(test)]
mod tests;
