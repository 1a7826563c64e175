//! How far each stream has come. Pure.

use std::collections::BTreeMap;

use appcontainers_wire::{MAX_PAYLOAD_BYTES, ProcessId, Stream};

use super::{LOG_ITSELF, Record, record};

/// Bytes of one stream's entry in a segment's first record: process, stream and three zero bytes, offset.
const ENTRY_BYTES: usize = 16;

/// Bytes in the log of each stream that is known. A process's streams stay known until it is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamOffsets(BTreeMap<(ProcessId, Stream), u64>);

impl StreamOffsets {
    /// How many bytes of a stream the log has; none if the stream is not known.
    pub fn get(&self, process: ProcessId, stream: Stream) -> Option<u64> {
        self.0.get(&(process, stream)).copied()
    }

    /// The processes whose streams are known, in order; each comes once for each stream.
    pub fn processes(&self) -> impl Iterator<Item = ProcessId> {
        self.0.keys().map(|(process, _)| *process)
    }

    pub(super) fn set(&mut self, process: ProcessId, stream: Stream, offset: u64) {
        self.0.insert((process, stream), offset);
    }

    pub(super) fn forget(&mut self, process: ProcessId) {
        self.0.retain(|(known, _), _| *known != process);
    }

    /// Takes in what a record tells.
    pub(super) fn learn(&mut self, record: &Record<'_>) {
        let header = &record.header;
        if header.process != LOG_ITSELF {
            self.set(header.process, header.stream, header.offset.saturating_add(header.length.into()));
            return;
        }
        for entry in record.payload.chunks_exact(ENTRY_BYTES) {
            let (numbers, offset) = entry.split_at(8);
            let process = numbers.first_chunk().map(|bytes| ProcessId(u32::from_le_bytes(*bytes)));
            let offset = offset.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            if let (Some(process), Some(offset), Some(stream)) = (process, offset, record::stream(numbers[4])) {
                self.set(process, stream, offset);
            }
        }
    }

    /// The payload of a segment's first record. With more streams than fit, the newest processes' are told.
    pub(super) fn encode(&self) -> Vec<u8> {
        let left_out = self.0.len().saturating_sub(MAX_PAYLOAD_BYTES / ENTRY_BYTES);
        let mut payload = Vec::with_capacity(self.0.len() * ENTRY_BYTES);
        for ((process, stream), offset) in self.0.iter().skip(left_out) {
            payload.extend_from_slice(&process.0.to_le_bytes());
            payload.extend_from_slice(&[record::stream_byte(*stream), 0, 0, 0]);
            payload.extend_from_slice(&offset.to_le_bytes());
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::{super::RecordHeader, *};

    #[test]
    fn a_segments_first_record_tells_all_offsets() {
        let mut offsets = StreamOffsets::default();
        for process in 1..100 {
            offsets.set(ProcessId(process), Stream::Stdout, u64::from(process) << 30);
            offsets.set(ProcessId(process), Stream::Stderr, u64::from(process));
        }
        let payload = offsets.encode();
        let length = payload.len() as u32;
        let header = RecordHeader { process: LOG_ITSELF, stream: Stream::Stdout, offset: 0, time_ns: 0, length };
        let mut learnt = StreamOffsets::default();
        learnt.learn(&Record { header, payload: &payload });
        assert_eq!(learnt, offsets);
        learnt.forget(ProcessId(7));
        assert_eq!(learnt.get(ProcessId(7), Stream::Stdout), None);
        assert_eq!(learnt.get(ProcessId(8), Stream::Stdout), Some(8 << 30));
    }
}
