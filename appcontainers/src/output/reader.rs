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
        let most = end.map_or(usize::MAX, |end| (end - read_from) as usize);
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
mod tests {
    use appcontainers_wire::{ProcessId, Stream};
    use proptest::prelude::*;

    use super::super::{ForegroundReader, LogWriter, NeededBy};
    use super::*;

    fn header(offset: u64, length: usize) -> RecordHeader {
        RecordHeader { process: ProcessId(1), stream: Stream::Stdout, offset, time_ns: 0, length: length as u32 }
    }

    fn read_all(directory: &Path, from: u64, end: u64) -> Vec<u8> {
        let mut reader = LogReader::open(directory).unwrap();
        reader.seek(from);
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
        let mut writer = LogWriter::open(place.path()).unwrap();
        for round in 0..600 {
            writer.append(&header(round * 65536, chunk.len()), &chunk).unwrap();
        }
        let end = writer.position();
        assert!(segments(place.path()).unwrap().len() > 2);
        assert_eq!(read_all(place.path(), 0, end), chunk.repeat(600));
        let offsets = writer.offsets().clone();
        assert_eq!(offsets.get(ProcessId(1), Stream::Stdout), Some(600 * 65536));
        drop(writer);
        assert_eq!(*LogWriter::open(place.path()).unwrap().offsets(), offsets);

        let last = segments(place.path()).unwrap().pop().unwrap();
        let path = place.path().join(segment_name(last));
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(end - last - 1).unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        assert_eq!(writer.position(), end - 65536 - 32);
        assert_eq!(writer.offsets().get(ProcessId(1), Stream::Stdout), Some(599 * 65536));
        writer.append(&header(0, 3), b"new").unwrap();
        let all = read_all(place.path(), 0, writer.position());
        assert_eq!(&all[all.len() - 3..], b"new");
        assert_eq!(all.len(), 599 * 65536 + 3);
    }

    #[test]
    fn a_segment_that_was_only_begun_hides_no_offsets() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        writer.append(&header(0, 5), b"hello").unwrap();
        let end = writer.position();
        drop(writer);
        File::create(place.path().join(segment_name(end))).unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        assert_eq!((writer.position(), writer.offsets().get(ProcessId(1), Stream::Stdout)), (end, Some(5)));
        writer.append(&header(5, 5), b"again").unwrap();
        assert_eq!(read_all(place.path(), 0, writer.position()), b"helloagain");
        drop(writer);
        assert_eq!(LogWriter::open(place.path()).unwrap().offsets().get(ProcessId(1), Stream::Stdout), Some(10));
    }

    #[test]
    fn the_oldest_segments_go_and_a_watcher_is_told() {
        let place = tempfile::tempdir().unwrap();
        let chunk = vec![7; 1024 * 1024];
        let mut writer = LogWriter::with_limit(place.path(), 20 * 1024 * 1024).unwrap();
        let mut watcher = LogReader::open(place.path()).unwrap();
        assert!(watcher.next_whole().unwrap().is_none());
        for round in 0..100 {
            writer.append(&header(round << 20, chunk.len()), &chunk).unwrap();
            writer.drop_oldest(&[]).unwrap();
        }
        let first = writer.first_position();
        assert!(first > 0 && writer.position() - first < 40 * 1024 * 1024);
        assert!(matches!(watcher.next_whole(), Err(LogError::NoRecord { .. })));
        assert_eq!(watcher.skip_dropped().unwrap(), first);
        while watcher.next_whole().unwrap().is_some() {}
        assert_eq!(watcher.position(), writer.position());
        assert_eq!(watcher.skip_dropped().unwrap(), 0);
        writer.append(&header(100 << 20, 1), b"x").unwrap();
        assert_eq!(watcher.next_whole().unwrap().unwrap().payload, b"x");
    }

    #[test]
    fn a_foreground_reader_gets_all_of_its_process_whatever_is_dropped() {
        let place = tempfile::tempdir().unwrap();
        let other = vec![7; 1024 * 1024];
        let mut writer = LogWriter::with_limit(place.path(), 20 * 1024 * 1024).unwrap();
        let mut reader = ForegroundReader::open(place.path()).unwrap();
        let begin = writer.position();
        reader.begin(ProcessId(2), begin).unwrap();
        let (mut expected, mut got, mut position) = (Vec::new(), Vec::new(), begin);
        for round in 0..400u32 {
            writer.append(&header(u64::from(round) << 20, other.len()), &other).unwrap();
            let payload = round.to_le_bytes();
            let offset = expected.len() as u64;
            let own = RecordHeader { process: ProcessId(2), offset, ..header(0, 4) };
            writer.append(&own, &payload).unwrap();
            expected.extend_from_slice(&payload);
            writer.drop_oldest(&[NeededBy { process: ProcessId(2), position }]).unwrap();
            // It stands still for long, then reads a little, then for long again.
            if matches!(round, 150..155 | 300) {
                for _ in 0..60 {
                    let Some(record) = reader.next(Some(writer.position())).unwrap() else { break };
                    got.extend_from_slice(record.payload);
                }
                position = reader.position();
            }
        }
        while let Some(record) = reader.next(Some(writer.position())).unwrap() {
            got.extend_from_slice(record.payload);
        }
        assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
        writer.forget(ProcessId(2));
        let names = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| name.to_string_lossy().ends_with(".seg")));
    }

    #[test]
    fn a_later_writer_keeps_what_a_reader_of_an_earlier_one_has_before_it() {
        let place = tempfile::tempdir().unwrap();
        let chunk = vec![7; 1024 * 1024];
        let fill = |writer: &mut LogWriter| {
            for round in 0..100 {
                writer.append(&header(round << 20, chunk.len()), &chunk).unwrap();
                writer.drop_oldest(&[]).unwrap();
            }
        };
        let limit = 20 * 1024 * 1024;
        let mut writer = LogWriter::with_limit(place.path(), u64::MAX).unwrap();
        let mut slow = ForegroundReader::open(place.path()).unwrap();
        slow.begin(ProcessId(1), 0).unwrap();
        writer.append(&header(0, 5), b"hello").unwrap();
        let end = writer.position();
        drop(writer);
        let mut writer = LogWriter::with_limit(place.path(), limit).unwrap();
        fill(&mut writer);
        assert_eq!(writer.first_position(), 0, "dropped what a reader had not read");
        assert_eq!(slow.next(Some(end)).unwrap().unwrap().payload, b"hello");
        drop(slow);
        fill(&mut writer);
        assert!(writer.first_position() > 0);
    }

    #[test]
    fn a_reader_reads_on_when_the_container_is_removed_and_the_last_one_deletes_the_log() {
        let place = tempfile::tempdir().unwrap();
        let container = place.path().join("web");
        std::fs::create_dir(&container).unwrap();
        let log = container.join("log");
        let mut writer = LogWriter::open(&log).unwrap();
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
        let mut writer = LogWriter::open(&log).unwrap();
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
            let mut writer = LogWriter::open(place.path()).unwrap();
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
