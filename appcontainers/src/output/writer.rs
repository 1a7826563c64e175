//! Appends records.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, IoSlice, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use appcontainers_wire::{ProcessId, Stream};
use rustix::fs::{FlockOperation, flock};

use super::{
    DEFAULT_LOG_BYTES, LOG_ITSELF, LogError, LogReader, Record, RecordHeader, SEGMENT_BYTES, StreamOffsets,
    freeing::Freeing, gone, held, io_error, segment_name, segments,
};

/// How much of a segment is read at once when a log is opened, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A foreground command's reader: what its process has printed behind this position must not get lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeededBy {
    /// Whose records it reads.
    pub process: ProcessId,
    /// Up to where it has read.
    pub position: u64,
}

/// The one writer of a container's log. It can go on when the container is removed: what comes last is for readers that
/// are still there.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    held: Option<File>,
    segment: File,
    segment_start: u64,
    position: u64,
    /// What was written before is for readers that this writer does not know.
    opened_at: u64,
    kept_from: Vec<u64>,
    limit_bytes: u64,
    offsets: StreamOffsets,
    freeing: Freeing,
}

impl LogWriter {
    /// Opens the log in `directory` (made if absent) to go on behind its last whole record; a torn one is cut off. It
    /// keeps about [`DEFAULT_LOG_BYTES`].
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        Self::with_limit(directory, DEFAULT_LOG_BYTES)
    }

    /// As [`LogWriter::open`]; the log keeps about `limit_bytes`.
    pub fn with_limit(directory: &Path, limit_bytes: u64) -> Result<Self, LogError> {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io_error("create", directory)(error));
            }
            _ => {}
        }
        let held = gone::hold(directory).map_err(io_error("open", directory))?;
        let mut kept_from = segments(directory)?;
        if kept_from.is_empty() {
            kept_from.push(0);
        }
        let segment_start = kept_from.last().copied().unwrap_or(0);
        let path = directory.join(segment_name(segment_start));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let segment = opened.map_err(io_error("open", &path))?;
        let mut offsets = StreamOffsets::default();
        let length = look_through(&segment, &mut offsets).map_err(io_error("read", &path))?;
        segment.set_len(length).map_err(io_error("mend", &path))?;
        if length == 0
            && let [.., before, _] = kept_from[..]
        {
            // The last writer ended when it had just begun it.
            let path = directory.join(segment_name(before));
            let segment = File::open(&path).map_err(io_error("open", &path))?;
            look_through(&segment, &mut offsets).map_err(io_error("read", &path))?;
        }
        let position = segment_start + length;
        let mut writer = Self {
            directory: directory.to_owned(),
            held: Some(held),
            segment,
            segment_start,
            position,
            opened_at: position,
            kept_from,
            limit_bytes,
            offsets,
            freeing: Freeing::default(),
        };
        writer.seek_to_end(&path)?;
        Ok(writer)
    }

    /// Behind the last record.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The oldest position that is still there.
    pub fn first_position(&self) -> u64 {
        self.kept_from.first().copied().unwrap_or(self.segment_start)
    }

    /// How far each stream has come that is not forgotten.
    pub fn offsets(&self) -> &StreamOffsets {
        &self.offsets
    }

    /// A cursor at the start of this log, wherever that is by now.
    pub(super) fn reader(&self) -> Result<LogReader, LogError> {
        LogReader::open(&self.path())
    }

    /// Keeps no longer how far a process's streams have come: nothing more comes of it. Nor is anything held for it.
    pub fn forget(&mut self, process: ProcessId) {
        self.offsets.forget(process);
        self.release(process);
    }

    /// Nobody reads this process in the foreground any more.
    pub fn release(&mut self, process: ProcessId) {
        held::forget(&self.path(), process);
    }

    /// Appends a record; it is whole in the file when this returns, and not there at all after an error.
    /// `header.length` is the payload's.
    pub fn append(&mut self, header: &RecordHeader, payload: &[u8]) -> Result<(), LogError> {
        if self.position - self.segment_start >= SEGMENT_BYTES {
            self.begin_segment()?;
        }
        if self.position == self.segment_start {
            self.append_offsets()?;
        }
        self.write(header, payload)?;
        self.offsets.learn(&Record { header: *header, payload });
        Ok(())
    }

    fn append_offsets(&mut self) -> Result<(), LogError> {
        let payload = self.offsets.encode();
        let length = payload.len() as u32;
        let header = RecordHeader { process: LOG_ITSELF, stream: Stream::Stdout, offset: 0, time_ns: 0, length };
        self.write(&header, &payload)
    }

    fn write(&mut self, header: &RecordHeader, payload: &[u8]) -> Result<(), LogError> {
        let encoded = header.encode();
        if let Err(source) = write_both(&mut self.segment, &encoded, payload) {
            let path = self.segment_path(self.segment_start);
            // A part of a record would hide all that follow it.
            self.segment.set_len(self.position - self.segment_start).map_err(io_error("mend", &path))?;
            self.seek_to_end(&path)?;
            return Err(io_error("append to", &path)(source));
        }
        self.position += header.record_bytes();
        Ok(())
    }

    /// Drops the oldest segments beyond the limit. What foreground readers need of them is held in files of their own.
    /// Older segments than this writer may have readers that it does not know: those keep theirs with a lock.
    pub fn drop_oldest(&mut self, needed: &[NeededBy]) -> Result<(), LogError> {
        while let [oldest, next, ..] = self.kept_from[..] {
            if self.position - oldest <= self.limit_bytes {
                break;
            }
            let path = self.segment_path(oldest);
            let segment = File::open(&path).map_err(io_error("open", &path))?;
            if oldest < self.opened_at && flock(&segment, FlockOperation::NonBlockingLockExclusive).is_err() {
                break;
            }
            for NeededBy { process, position } in needed.iter().filter(|needed| needed.position < next) {
                held::hold(&self.path(), *process, *position, (oldest, next)).map_err(io_error("copy from", &path))?;
            }
            std::fs::remove_file(&path).map_err(io_error("drop a segment of", &path))?;
            self.kept_from.remove(0);
            self.freeing.free(segment);
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let path = self.segment_path(self.position);
        let begun = OpenOptions::new().write(true).create_new(true).open(&path);
        self.segment = begun.map_err(io_error("begin a segment of", &path))?;
        self.segment_start = self.position;
        self.kept_from.push(self.position);
        Ok(())
    }

    /// A path to the log's directory that holds also when that is renamed.
    fn path(&self) -> PathBuf {
        self.held.as_ref().map_or_else(|| self.directory.clone(), gone::handle_path)
    }

    fn segment_path(&self, position: u64) -> PathBuf {
        self.path().join(segment_name(position))
    }

    fn seek_to_end(&mut self, path: &Path) -> Result<(), LogError> {
        self.segment.seek(SeekFrom::Start(self.position - self.segment_start)).map_err(io_error("read", path))?;
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(directory) = self.held.take() {
            gone::release(directory);
        }
    }
}

fn write_both(file: &mut File, header: &[u8], payload: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(header), IoSlice::new(payload)];
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = file.write_vectored(left)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

/// Reads a segment up to its last whole record, and what its records tell of streams. How many bytes that are.
fn look_through(segment: &File, offsets: &mut StreamOffsets) -> io::Result<u64> {
    let length = segment.metadata()?.len();
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, segment);
    let (mut whole, mut bytes) = (0, [0; RecordHeader::BYTES]);
    while whole + RecordHeader::BYTES as u64 <= length {
        reader.read_exact(&mut bytes)?;
        let header = RecordHeader::decode(&bytes).filter(|header| whole + header.record_bytes() <= length);
        let Some(header) = header else { break };
        if header.process == LOG_ITSELF {
            let mut payload = vec![0; header.length as usize];
            reader.read_exact(&mut payload)?;
            offsets.learn(&Record { header, payload: &payload });
        } else {
            reader.seek_relative(header.length.into())?;
            offsets.learn(&Record { header, payload: &[] });
        }
        whole += header.record_bytes();
    }
    Ok(whole)
}
