//! A container's log of any bytes at any position: what its readers find is in it, and its writer goes on behind the last whole
//! record. The first 8 bytes are the position, the next two where a second segment begins.
#![no_main]

use std::{fs, path::Path};

use appcontainers::{
    ProcessId, Stream,
    output::{ForegroundReader, LogReader, LogWriter, PieceQuery, RecordHeader},
};
use libfuzzer_sys::fuzz_target;

fn segment(directory: &Path, position: u64, bytes: &[u8]) {
    fs::write(directory.join(format!("{position:016x}.seg")), bytes).expect("a file");
}

fuzz_target!(|data: &[u8]| {
    let Some((position, bytes)) = data.split_first_chunk().map(|(first, rest)| (u64::from_le_bytes(*first), rest))
    else {
        return;
    };
    let Some((cut, bytes)) = bytes.split_first_chunk().map(|(two, rest)| (u16::from_le_bytes(*two), rest)) else {
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    let log = place.path();
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    segment(log, position, first);
    if !second.is_empty() {
        segment(log, position.saturating_add(first.len() as u64), second);
    }
    decode(bytes);
    read(log, position, bytes.len());
    write(log);
    hold(log, position, bytes);
});

fn decode(bytes: &[u8]) {
    if let Some(bytes) = bytes.first_chunk()
        && let Some(header) = RecordHeader::decode(bytes)
    {
        assert_eq!(header.encode(), *bytes);
    }
}

/// By turns with an end and without one, as those do who are told and those who are not.
fn read(log: &Path, position: u64, length: usize) {
    let mut reader = LogReader::open(log).expect("it can be opened");
    let _ = reader.skip_dropped();
    let mut read = 0;
    for round in 0_u64.. {
        let end = reader.position().saturating_add(round * 40);
        let record = if round % 3 == 0 { reader.next_whole() } else { reader.next(end) };
        match record {
            Ok(Some(record)) => read += record.payload.len() + RecordHeader::BYTES,
            Ok(None) if round % 3 == 0 => break,
            Ok(None) => {}
            Err(_) => break,
        }
        assert!(read <= length && reader.position() >= position);
    }
}

fn write(log: &Path) {
    let Ok(mut writer) = LogWriter::open(log) else { return };
    let query = |offset, position| PieceQuery {
        process: ProcessId(1),
        stream: Stream::Stdout,
        offset,
        position,
        begin: 0,
        most_bytes: 100,
        most_read: 10_000,
    };
    for offset in [0, 5, u64::MAX] {
        for position in [None, Some(writer.first_position()), Some(writer.position())] {
            if let Ok(piece) = writer.piece(&query(offset, position)) {
                assert!(piece.bytes.len() <= 100 && piece.offset >= offset);
            }
        }
    }
    let begin = writer.position();
    let header =
        RecordHeader { process: ProcessId(1), stream: Stream::Stdout, offset: u64::MAX - 3, time_ns: 0, length: 3 };
    if writer.append(&header, b"new").is_ok() {
        let mut reader = LogReader::open(log).expect("it can be opened");
        reader.seek(begin);
        let record = reader.next(writer.position()).expect("it is whole").expect("it is there");
        assert_eq!((record.header, record.payload), (header, &b"new"[..]));
        let offsets = writer.offsets().clone();
        drop(writer);
        assert_eq!(*LogWriter::open(log).expect("it can be opened").offsets(), offsets);
    }
}

/// The bytes as what is held for a foreground reader whose segments were dropped.
fn hold(log: &Path, position: u64, bytes: &[u8]) {
    let held = log.join("held");
    fs::create_dir(&held).expect("a directory");
    let own = RecordHeader { process: ProcessId(0), stream: Stream::Stdout, offset: 0, time_ns: 0, length: 0 };
    segment(&held, 0, &own.encode());
    let mut reader = ForegroundReader::open(&held).expect("it can be opened");
    reader.begin(ProcessId(1), 0).expect("it is there");
    segment(&held, position.clamp(4096, i64::MAX as u64), bytes);
    fs::write(held.join("1.held"), bytes).expect("a file");
    let mut read = 0;
    while let Ok(Some(record)) = reader.next(Some(u64::MAX)) {
        read += record.payload.len() + RecordHeader::BYTES;
        // What is held and what is in the log.
        assert!(read <= 2 * bytes.len());
    }
}
