//! One piece of output, as bytes. Pure.

use appcontainers_wire::{MAX_PAYLOAD_BYTES, ProcessId, Stream};

const MAGIC: [u8; 4] = *b"aplg";

pub(super) fn stream_byte(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

pub(super) fn stream(byte: u8) -> Option<Stream> {
    match byte {
        1 => Some(Stream::Stdout),
        2 => Some(Stream::Stderr),
        _ => None,
    }
}

/// What stands before a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Whose output.
    pub process: ProcessId,
    /// Which stream.
    pub stream: Stream,
    /// Bytes of this stream before the payload.
    pub offset: u64,
    /// When the agent read it: nanoseconds since 1970, UTC.
    pub time_ns: u64,
    /// The payload's length in bytes.
    pub length: u32,
}

/// A record as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub header: RecordHeader,
    /// The output itself.
    pub payload: &'a [u8],
}

impl RecordHeader {
    /// Length of an encoded header in bytes.
    pub const BYTES: usize = 32;

    /// The header as bytes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.process.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12] = stream_byte(self.stream);
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes
    }

    /// The header in `bytes`, or `None` if they are no header.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let u32_at = |at: usize| bytes[at..].first_chunk().map(|four| u32::from_le_bytes(*four));
        let u64_at = |at: usize| bytes[at..].first_chunk().map(|eight| u64::from_le_bytes(*eight));
        let stream = stream(bytes[12])?;
        let length = u32_at(8)?;
        if bytes[0..4] != MAGIC || bytes[13..16] != [0; 3] || length as usize > MAX_PAYLOAD_BYTES {
            return None;
        }
        Some(Self { process: ProcessId(u32_at(4)?), stream, offset: u64_at(16)?, time_ns: u64_at(24)?, length })
    }

    /// Header and payload together, in bytes.
    pub fn record_bytes(&self) -> u64 {
        Self::BYTES as u64 + u64::from(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_what_it_writes_and_refuses_a_flipped_byte_in_its_fixed_parts() {
        let header =
            RecordHeader { process: ProcessId(7), stream: Stream::Stderr, offset: 1 << 40, time_ns: 99, length: 5 };
        let bytes = header.encode();
        assert_eq!(RecordHeader::decode(&bytes), Some(header));
        for at in (0..4).chain(12..16) {
            let mut flipped = bytes;
            flipped[at] ^= 0x80;
            assert_eq!(RecordHeader::decode(&flipped), None, "byte {at}");
        }
    }
}
