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

#[test]
fn a_record_at_the_end_of_all_offsets_is_read() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(place.path()).unwrap();
    let mut reader = ForegroundReader::open(place.path()).unwrap();
    reader.begin(ProcessId(1), 0).unwrap();
    writer.append(&header(u64::MAX - 2, 5), b"hello").unwrap();
    assert_eq!(reader.next(Some(writer.position())).unwrap().unwrap().payload, b"hello");
    assert_eq!(writer.offsets().get(ProcessId(1), Stream::Stdout), Some(u64::MAX));
}

#[test]
fn a_file_that_is_named_by_a_position_that_no_log_has_is_no_segment() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(place.path()).unwrap();
    writer.append(&header(0, 5), b"hello").unwrap();
    let end = writer.position();
    drop(writer);
    for position in [u64::MAX, u64::MAX - 40, 1 << 63] {
        std::fs::write(place.path().join(segment_name(position)), header(0, 5).encode()).unwrap();
    }
    let mut writer = LogWriter::open(place.path()).unwrap();
    assert_eq!(writer.position(), end);
    writer.append(&header(5, 5), b"again").unwrap();
    assert_eq!(read_all(place.path(), 0, writer.position()), b"helloagain");
}

#[test]
fn a_record_that_goes_over_the_end_that_is_known_is_none() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(place.path()).unwrap();
    writer.append(&header(0, 5), b"hello").unwrap();
    let damaged = RecordHeader { length: 1000, ..header(5, 0) }.encode();
    let file = File::options().append(true).open(place.path().join(segment_name(0))).unwrap();
    std::io::Write::write_all(&mut &file, &[&damaged[..], &[7; 500]].concat()).unwrap();
    let mut reader = LogReader::open(place.path()).unwrap();
    reader.next_whole().unwrap().unwrap();
    // More than up to there was read already.
    assert!(matches!(reader.next(reader.position() + 40), Err(LogError::NoRecord { .. })));
}
