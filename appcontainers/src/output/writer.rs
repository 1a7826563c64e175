//! Appends records.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{LogError, RecordHeader, SEGMENT_BYTES, gone, io_error, segment_name, segments};

/// The one writer of a container's log. It can go on when the container is removed: what comes last is for readers that
/// are still there.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    held: Option<File>,
    segment: File,
    segment_start: u64,
    position: u64,
    kept_from: Vec<u64>,
    limit_bytes: u64,
}

impl LogWriter {
    /// Opens the log in `directory` (made if absent) to go on behind its last whole record; a torn
    /// one is cut off. It keeps about `limit_bytes`.
    pub fn open(directory: &Path, limit_bytes: u64) -> Result<Self, LogError> {
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
        let segment = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let length = whole_records(&segment).map_err(io_error("read", &path))?;
        segment.set_len(length).map_err(io_error("mend", &path))?;
        let mut writer = Self {
            directory: directory.to_owned(),
            held: Some(held),
            segment,
            segment_start,
            position: 0,
            kept_from,
            limit_bytes,
        };
        writer.position = segment_start + length;
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

    /// Appends a record; it is whole in the file when this returns. `header.length` is the payload's.
    pub fn append(&mut self, header: &RecordHeader, payload: &[u8]) -> Result<(), LogError> {
        if self.position - self.segment_start >= SEGMENT_BYTES {
            self.begin_segment()?;
        }
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

    /// Drops the oldest segments beyond the limit, none of them at or behind `needed_from` or a reader's cursor.
    pub fn drop_oldest(&mut self, needed_from: u64) -> Result<(), LogError> {
        while let [oldest, next, ..] = self.kept_from[..] {
            if self.position - oldest <= self.limit_bytes || next > needed_from {
                break;
            }
            let path = self.segment_path(oldest);
            let segment = File::open(&path).map_err(io_error("open", &path))?;
            if flock(&segment, FlockOperation::NonBlockingLockExclusive).is_err() {
                break;
            }
            std::fs::remove_file(&path).map_err(io_error("drop a segment of", &path))?;
            self.kept_from.remove(0);
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let path = self.segment_path(self.position);
        self.segment = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(io_error("begin a segment of", &path))?;
        self.segment_start = self.position;
        self.kept_from.push(self.position);
        Ok(())
    }

    /// A path to a segment that holds also when the directory is renamed.
    fn segment_path(&self, position: u64) -> PathBuf {
        let directory = self.held.as_ref().map_or_else(|| self.directory.clone(), gone::handle_path);
        directory.join(segment_name(position))
    }

    fn seek_to_end(&mut self, path: &Path) -> Result<(), LogError> {
        use std::io::Seek;
        self.segment.seek(io::SeekFrom::Start(self.position - self.segment_start)).map_err(io_error("read", path))?;
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

/// How many bytes at the start of a segment are whole records.
fn whole_records(segment: &File) -> io::Result<u64> {
    let length = segment.metadata()?.len();
    let mut at = 0;
    let mut bytes = [0; RecordHeader::BYTES];
    while at + RecordHeader::BYTES as u64 <= length {
        segment.read_exact_at(&mut bytes, at)?;
        match RecordHeader::decode(&bytes) {
            Some(header) if at + header.record_bytes() <= length => at += header.record_bytes(),
            _ => break,
        }
    }
    Ok(at)
}
