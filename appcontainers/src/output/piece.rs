//! A piece of one stream, from anywhere in the log: for who has missed it.
//!
//! Where a byte of a stream is in the log, the segments' first records tell up to a segment. The rest is looking through
//! records, of which so many are read at once and no more, so that who looks has time for other things too.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use appcontainers_wire::{ProcessId, Stream};

use super::{
    LOG_ITSELF, LogError, LogReader, LogWriter, Record, RecordHeader, StreamOffsets, io_error, segment_name, segments,
};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceQuery {
    /// Whose output.
    pub process: ProcessId,
    /// Which stream.
    pub stream: Stream,
    /// The first byte that is wanted.
    pub offset: u64,
    /// The position of a record at or before the one with that byte, if it is known.
    pub position: Option<u64>,
    /// A position that is before all output of the process.
    pub begin: u64,
    /// How many bytes are wanted at most.
    pub most_bytes: usize,
    /// How many bytes of the log are read at most, about.
    pub most_read: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The first byte's offset, or that of the next that may be found: higher than what was asked for if the log has
    /// dropped what is between.
    pub offset: u64,
    /// The bytes. None at all where so much was read in vain: what is wanted may be further on.
    pub bytes: Vec<u8>,
    /// Where to look for what follows.
    pub next: u64,
    /// When the agent read the first byte: nanoseconds since 1970, UTC.
    pub time_ns: Option<u64>,
    /// Whether the log has no more of this stream today.
    pub is_last: bool,
}

impl LogWriter {
    /// Looks for a piece of a stream.
    pub fn piece(&self, query: &PieceQuery) -> Result<Piece, LogError> {
        let total = self.offsets().get(query.process, query.stream);
        if total.is_some_and(|total| query.offset >= total) {
            return Ok(Piece { is_last: true, ..Piece::empty(query.offset, self.position()) });
        }
        let mut reader = self.reader()?;
        let known = query.position.filter(|known| (self.first_position()..=self.position()).contains(known));
        if let Some(known) = known {
            let piece = collect(&mut reader, query, known, self.position())?;
            let is_behind = piece.offset > query.offset || (piece.bytes.is_empty() && piece.is_last && total.is_some());
            if !is_behind {
                return Ok(piece);
            }
        }
        let from = segment_before(&reader.directory(), query)?.max(self.first_position());
        collect(&mut reader, query, from, self.position())
    }
}

impl Piece {
    fn empty(offset: u64, next: u64) -> Self {
        Self { offset, bytes: Vec::new(), next, time_ns: None, is_last: false }
    }
}

/// Reads records from `from` on.
fn collect(reader: &mut LogReader, query: &PieceQuery, from: u64, end: u64) -> Result<Piece, LogError> {
    reader.seek(from);
    let mut piece = Piece::empty(query.offset, from);
    while piece.next - from < query.most_read && piece.bytes.len() < query.most_bytes {
        let Some(header) = reader.advance(Some(end))? else {
            piece.next = end;
            break;
        };
        let behind = std::mem::replace(&mut piece.next, reader.position());
        let wanted = piece.offset.saturating_add(piece.bytes.len() as u64);
        let is_wanted = (header.process, header.stream) == (query.process, query.stream);
        if !is_wanted || header.offset.saturating_add(header.length.into()) <= wanted {
            continue;
        }
        if piece.bytes.is_empty() {
            piece.offset = wanted.max(header.offset);
            piece.time_ns = Some(header.time_ns);
        } else if header.offset > wanted {
            piece.next = behind;
            break;
        }
        let news = &reader.payload()[wanted.saturating_sub(header.offset) as usize..];
        let room = query.most_bytes - piece.bytes.len();
        if news.len() > room {
            piece.next = behind;
        }
        piece.bytes.extend_from_slice(&news[..news.len().min(room)]);
    }
    piece.is_last = piece.next >= end;
    Ok(piece)
}

/// The last segment that surely begins before the byte that is looked for.
fn segment_before(directory: &Path, query: &PieceQuery) -> Result<u64, LogError> {
    let mut before = query.begin;
    for start in segments(directory)?.into_iter().filter(|start| *start > query.begin) {
        let path = directory.join(segment_name(start));
        let offsets = match first_offsets(&path) {
            // It was begun when there was no room for more.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            offsets => offsets.map_err(io_error("read", &path))?,
        };
        match offsets.get(query.process, query.stream) {
            Some(offset) if offset <= query.offset => before = start,
            Some(_) => break,
            // It had printed nothing, or was forgotten.
            None => {}
        }
    }
    Ok(before)
}

/// What a segment's first record tells.
fn first_offsets(path: &Path) -> io::Result<StreamOffsets> {
    let (segment, mut bytes, mut offsets) = (File::open(path)?, [0; RecordHeader::BYTES], StreamOffsets::default());
    segment.read_exact_at(&mut bytes, 0)?;
    if let Some(header) = RecordHeader::decode(&bytes).filter(|header| header.process == LOG_ITSELF) {
        let mut payload = vec![0; header.length as usize];
        segment.read_exact_at(&mut payload, RecordHeader::BYTES as u64)?;
        offsets.learn(&Record { header, payload: &payload });
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Two processes by turns, in pieces of 64 KiB, of which each byte tells its own offset.
    fn write(writer: &mut LogWriter, bytes: u64) {
        let offset =
            |writer: &LogWriter, process| writer.offsets().get(ProcessId(process), Stream::Stdout).unwrap_or(0);
        let until = offset(writer, 1) + bytes;
        while offset(writer, 1) < until {
            for process in [1, 2] {
                let offset = offset(writer, process);
                let payload: Vec<u8> = (offset..offset + 65536).map(byte_at).collect();
                let (process, stream, length) = (ProcessId(process), Stream::Stdout, 65536);
                writer.append(&RecordHeader { process, stream, offset, time_ns: offset, length }, &payload).unwrap();
            }
            writer.drop_oldest(&[]).unwrap();
        }
    }

    fn byte_at(offset: u64) -> u8 {
        (offset % 251) as u8
    }

    fn query(offset: u64) -> PieceQuery {
        let (process, stream, position) = (ProcessId(2), Stream::Stdout, None);
        PieceQuery { process, stream, offset, position, begin: 0, most_bytes: MIB as usize, most_read: 16 * MIB }
    }

    #[track_caller]
    fn assert_is(piece: &Piece, offset: u64, bytes: u64) {
        assert_eq!((piece.offset, piece.bytes.len() as u64), (offset, bytes));
        assert!(piece.bytes.iter().zip(offset..).all(|(byte, offset)| *byte == byte_at(offset)));
    }

    #[test]
    fn any_byte_is_found_and_what_follows_it() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        write(&mut writer, 40 * MIB);
        for offset in [0, 1, 65535, 65536, 20 * MIB + 7, 39 * MIB] {
            let piece = writer.piece(&query(offset)).unwrap();
            assert_is(&piece, offset, MIB);
            assert_eq!(piece.time_ns, Some(offset / 65536 * 65536));
            let follows = PieceQuery { position: Some(piece.next), ..query(offset + MIB) };
            let follows = writer.piece(&follows).unwrap();
            assert_is(&follows, offset + MIB, MIB.min(39 * MIB - offset));
        }
        let end = writer.piece(&query(40 * MIB)).unwrap();
        assert_eq!((end.bytes.len(), end.next, end.is_last), (0, writer.position(), true));
    }

    #[test]
    fn a_position_behind_what_is_wanted_does_not_make_a_hole() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        write(&mut writer, 2 * MIB);
        let middle = writer.piece(&query(MIB)).unwrap().next;
        for position in [middle, writer.position(), u64::MAX] {
            assert_is(&writer.piece(&PieceQuery { position: Some(position), ..query(5) }).unwrap(), 5, MIB);
        }
        assert!(writer.piece(&PieceQuery { position: Some(7), ..query(5) }).is_err(), "no record is there");
    }

    #[test]
    fn what_was_dropped_shows_in_the_offset() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::with_limit(place.path(), 20 * MIB).unwrap();
        write(&mut writer, 40 * MIB);
        let piece = writer.piece(&query(0)).unwrap();
        assert!(piece.offset > 20 * MIB, "{}", piece.offset);
        assert_is(&piece, piece.offset, MIB);
    }

    #[test]
    fn no_more_is_read_at_once_than_was_said() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        write(&mut writer, 8 * MIB);
        // The process has printed nothing on this stream.
        let mut query = PieceQuery { stream: Stream::Stderr, most_read: MIB, ..query(0) };
        let mut steps = 0;
        loop {
            let piece = writer.piece(&query).unwrap();
            assert_eq!((piece.offset, piece.bytes.len()), (0, 0));
            assert!(piece.next - query.position.unwrap_or(0) <= 2 * MIB);
            (steps, query.position) = (steps + 1, Some(piece.next));
            if piece.is_last {
                break;
            }
        }
        assert!(steps >= 8, "{steps}");
    }

    #[test]
    fn a_process_that_was_forgotten_is_found_from_its_beginning_on() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        write(&mut writer, 2 * MIB);
        writer.forget(ProcessId(2));
        let header =
            RecordHeader { process: ProcessId(3), stream: Stream::Stdout, offset: 0, time_ns: 0, length: 65536 };
        for round in 0..600 {
            writer.append(&RecordHeader { offset: round * 65536, ..header }, &[0; 65536]).unwrap();
        }
        assert_is(&writer.piece(&query(MIB)).unwrap(), MIB, MIB);
    }

    #[test]
    fn a_piece_at_the_end_of_all_offsets_is_found() {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(place.path()).unwrap();
        let (process, stream, offset) = (ProcessId(2), Stream::Stdout, u64::MAX - 2);
        for _ in 0..2 {
            writer.append(&RecordHeader { process, stream, offset, time_ns: 0, length: 5 }, b"hello").unwrap();
        }
        // The log has all that it says it has.
        assert!(writer.piece(&query(u64::MAX)).unwrap().is_last);
        let piece = writer.piece(&query(offset)).unwrap();
        assert_eq!((piece.offset, piece.bytes.as_slice(), piece.is_last), (offset, &b"hello"[..], true));
    }
}
