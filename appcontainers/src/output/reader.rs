//! Follows a log with a cursor.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{LogError, Record, RecordHeader, gone, io_error, segment_name, segments};

/// How much is read from a segment at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A cursor in a log. What it has opened stays readable when the container is removed.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    directory: Option<File>,
    position: u64,
    segment: Option<(u64, File)>,
    buffer: Vec<u8>,
    taken: usize,
}

impl LogReader {
    /// A cursor at the start of the log in directory `path`.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let directory = gone::hold(path).map_err(io_error("open", path))?;
        let (path, directory) = (path.to_owned(), Some(directory));
        Ok(Self { path, directory, position: 0, segment: None, buffer: Vec::new(), taken: 0 })
    }

    /// Moves the cursor to `position`, which is the position of a record or the log's end. From now on, what comes at
    /// or after the cursor is not dropped.
    pub fn seek(&mut self, position: u64) -> Result<(), LogError> {
        self.position = position;
        self.buffer.clear();
        self.taken = 0;
        self.segment = Some(self.open_segment()?);
        Ok(())
    }

    /// Where the cursor is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next record before `end`, a position up to which the log is known to be written.
    pub fn next(&mut self, end: u64) -> Result<Option<Record<'_>>, LogError> {
        if self.position >= end {
            return Ok(None);
        }
        let header = self.read_header(end)?;
        let total = header.record_bytes() as usize;
        self.fill(total, end)?;
        let start = self.taken + RecordHeader::BYTES;
        let Some(payload) = self.buffer.get(start..self.taken + total) else {
            return Err(self.no_record());
        };
        self.taken += total;
        self.position += total as u64;
        Ok(Some(Record { header, payload }))
    }

    fn read_header(&mut self, end: u64) -> Result<RecordHeader, LogError> {
        self.fill(RecordHeader::BYTES, end)?;
        self.buffer[self.taken..].first_chunk().and_then(RecordHeader::decode).ok_or_else(|| self.no_record())
    }

    /// Makes the buffer hold at least `wanted` bytes from the cursor on, if the segment has them.
    fn fill(&mut self, wanted: usize, end: u64) -> Result<(), LogError> {
        if self.buffer.len() - self.taken >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let read_from = self.position + self.buffer.len() as u64;
        let (start, file) = match &self.segment {
            // A record never goes over a segment's end, so an empty buffer may mean the next segment.
            Some((start, file)) if !self.buffer.is_empty() || has_more(file, read_from - start) => (*start, file),
            _ => {
                let opened = self.open_segment()?;
                if !has_more(&opened.1, self.position - opened.0) {
                    return Err(self.no_record());
                }
                let (start, file) = self.segment.insert(opened);
                (*start, &*file)
            }
        };
        let room = wanted.max(BUFFER_BYTES).min((end - read_from) as usize);
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
        Ok(())
    }

    /// Opens the segment in which the cursor is, and keeps it from being dropped while it is open.
    fn open_segment(&self) -> Result<(u64, File), LogError> {
        let directory = self.directory.as_ref().map_or_else(|| self.path.clone(), gone::handle_path);
        let start = segments(&directory)?.into_iter().rev().find(|start| *start <= self.position);
        let start = start.ok_or_else(|| self.no_record())?;
        let path = directory.join(segment_name(start));
        let file = File::open(&path).map_err(io_error("open", &path))?;
        flock(&file, FlockOperation::LockShared).map_err(|errno| io_error("lock", &path)(errno.into()))?;
        Ok((start, file))
    }

    fn no_record(&self) -> LogError {
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
mod tests {
    use appcontainers_wire::{ProcessId, Stream};
    use proptest::prelude::*;

    use super::super::LogWriter;
    use super::*;

    fn header(offset: u64, length: usize) -> RecordHeader {
        RecordHeader { process: ProcessId(1), stream: Stream::Stdout, offset, time_ns: 0, length: length as u32 }
    }

    fn read_all(directory: &Path, from: u64, end: u64) -> Vec<u8> {
        let mut reader = LogReader::open(directory).unwrap();
        reader.seek(from).unwrap();
        let mut all = Vec::new();
        while let Some(record) = reader.next(end).unwrap() {
            all.extend_from_slice(record.payload);
        }
        all
    }

    #[test]
    fn output_over_many_segments_comes_back_whole_and_a_torn_end_is_cut_off() {
        let place = tempfile::tempdir().unwrap();
        let chunk: Vec<u8> = (0..65536u32).map(|byte| (byte % 251) as u8).collect();
        let mut writer = LogWriter::open(place.path(), u64::MAX).unwrap();
        for round in 0..600 {
            writer.append(&header(round * 65536, chunk.len()), &chunk).unwrap();
        }
        let end = writer.position();
        assert!(segments(place.path()).unwrap().len() > 2);
        assert_eq!(read_all(place.path(), 0, end), chunk.repeat(600));
        drop(writer);

        let last = segments(place.path()).unwrap().pop().unwrap();
        let path = place.path().join(segment_name(last));
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(end - last - 1).unwrap();
        let mut writer = LogWriter::open(place.path(), u64::MAX).unwrap();
        assert_eq!(writer.position(), end - 65536 - 32);
        writer.append(&header(0, 3), b"new").unwrap();
        let all = read_all(place.path(), 0, writer.position());
        assert_eq!(&all[all.len() - 3..], b"new");
        assert_eq!(all.len(), 599 * 65536 + 3);
    }

    #[test]
    fn the_oldest_segments_go_but_none_that_a_reader_needs() {
        let place = tempfile::tempdir().unwrap();
        let chunk = vec![7; 1024 * 1024];
        let mut writer = LogWriter::open(place.path(), 20 * 1024 * 1024).unwrap();
        for round in 0..100 {
            writer.append(&header(round << 20, chunk.len()), &chunk).unwrap();
        }
        writer.drop_oldest(0).unwrap();
        assert_eq!(writer.first_position(), 0);
        let mut slow = LogReader::open(place.path()).unwrap();
        slow.seek(0).unwrap();
        writer.drop_oldest(u64::MAX).unwrap();
        assert_eq!(writer.first_position(), 0, "dropped what a reader had not read");
        while slow.next(writer.position()).unwrap().is_some() {}
        writer.drop_oldest(u64::MAX).unwrap();
        assert!(writer.first_position() > 0);
        let first = writer.first_position();
        assert!(!read_all(place.path(), first, writer.position()).is_empty());
        let mut late = LogReader::open(place.path()).unwrap();
        assert!(matches!(late.next(writer.position()), Err(LogError::NoRecord { .. })));
    }

    #[test]
    fn a_reader_reads_on_when_the_container_is_removed_and_the_last_one_deletes_the_log() {
        let place = tempfile::tempdir().unwrap();
        let container = place.path().join("web");
        std::fs::create_dir(&container).unwrap();
        let log = container.join("log");
        let mut writer = LogWriter::open(&log, u64::MAX).unwrap();
        writer.append(&header(0, 5), b"hello").unwrap();
        let end = writer.position();
        drop(writer);
        let mut readers = [LogReader::open(&log).unwrap(), LogReader::open(&log).unwrap()];
        gone::retire(&container).unwrap();
        assert!(!container.exists());
        for reader in &mut readers {
            assert_eq!(reader.next(end).unwrap().unwrap().payload, b"hello");
        }
        let [one, other] = readers;
        drop(one);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        drop(other);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_written_after_a_containers_removal_reaches_its_readers_and_then_goes() {
        let place = tempfile::tempdir().unwrap();
        let container = place.path().join("web");
        std::fs::create_dir(&container).unwrap();
        let log = container.join("log");
        let mut writer = LogWriter::open(&log, u64::MAX).unwrap();
        let mut reader = LogReader::open(&log).unwrap();
        gone::retire(&container).unwrap();
        let chunk = vec![7; 1024 * 1024];
        for round in 0..18 {
            writer.append(&header(round << 20, chunk.len()), &chunk).unwrap();
        }
        let end = writer.position();
        let mut read = 0;
        while let Some(record) = reader.next(end).unwrap() {
            read += record.payload.len();
        }
        assert_eq!(read, 18 << 20, "a new segment was begun in the removed directory");
        drop(reader);
        drop(writer);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    proptest! {
        #[test]
        fn any_records_come_back_as_they_were(sizes in proptest::collection::vec(0usize..5000, 1..60)) {
            let place = tempfile::tempdir().unwrap();
            let mut writer = LogWriter::open(place.path(), u64::MAX).unwrap();
            let mut expected = Vec::new();
            let mut offset = 0;
            for (round, size) in sizes.into_iter().enumerate() {
                let payload = vec![round as u8; size];
                writer.append(&header(offset, size), &payload).unwrap();
                offset += size as u64;
                expected.extend_from_slice(&payload);
            }
            prop_assert_eq!(read_all(place.path(), 0, writer.position()), expected);
        }
    }
}
