//! One stream's output between the process's pipe and the monitor's acknowledgement: what was read
//! and is not acknowledged, and how much of that was sent on the present connection (go-back-N).
//! Pure: knows neither pipes nor sockets.

use std::collections::VecDeque;

use appcontainers_wire::agent::OUTPUT_WINDOW_BYTES;

/// How many reads of a stream are kept at most: bounds the cost of a process that writes byte by byte, whose
/// writes then gather in its pipe.
const MAX_CHUNKS: usize = 256;

/// What was read at once.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    time_ns: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// What to send next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Bytes of the stream before `bytes`.
    pub(crate) offset: u64,
    /// When it was read.
    pub(crate) time_ns: u64,
    /// Never empty.
    pub(crate) bytes: &'a [u8],
}

/// A stream's window. `acknowledged <= sent <= end`, all counted from the stream's first byte.
#[derive(Debug, Default)]
pub(crate) struct Window {
    chunks: VecDeque<Chunk>,
    /// How many of `chunks` were sent on this connection.
    sent: usize,
    acknowledged: u64,
    end: u64,
}

impl Window {
    /// How many bytes may be pushed now.
    pub(crate) fn room(&self) -> usize {
        if self.chunks.len() >= MAX_CHUNKS {
            return 0;
        }
        OUTPUT_WINDOW_BYTES.saturating_sub(self.end - self.acknowledged) as usize
    }

    /// Takes what was read from the pipe; the caller has asked for [`Window::room`].
    pub(crate) fn push(&mut self, bytes: Vec<u8>, time_ns: u64) {
        if !bytes.is_empty() {
            let chunk = Chunk { offset: self.end, time_ns, bytes };
            self.end = chunk.end();
            self.chunks.push_back(chunk);
        }
    }

    /// What to send next, if anything.
    pub(crate) fn next(&self) -> Option<Part<'_>> {
        self.chunks.get(self.sent).map(|chunk| Part {
            offset: chunk.offset,
            time_ns: chunk.time_ns,
            bytes: &chunk.bytes,
        })
    }

    /// What [`Window::next`] gave is on its way.
    pub(crate) fn advance(&mut self) {
        self.sent = (self.sent + 1).min(self.chunks.len());
    }

    /// How far the stream is on its way.
    pub(crate) fn sent(&self) -> u64 {
        self.chunks.get(self.sent).map_or(self.end, |chunk| chunk.offset)
    }

    /// How much was pushed in all.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether all that was pushed is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many bytes are not acknowledged.
    pub(crate) fn held(&self) -> usize {
        (self.end - self.acknowledged) as usize
    }

    /// The monitor has everything before `offset`. One outside of what is held is taken as its nearest end.
    pub(crate) fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = offset.clamp(self.acknowledged, self.end);
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.end() > self.acknowledged {
                let known = self.acknowledged.saturating_sub(chunk.offset);
                chunk.bytes.drain(..known as usize);
                chunk.offset += known;
                break;
            }
            self.chunks.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    /// A new connection: the monitor has everything before `offset` and nothing after it.
    pub(crate) fn rewind(&mut self, offset: u64) {
        self.acknowledge(offset);
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(window: &mut Window) -> Vec<(u64, Vec<u8>)> {
        let mut parts = Vec::new();
        while let Some(part) = window.next() {
            parts.push((part.offset, part.bytes.to_vec()));
            window.advance();
        }
        parts
    }

    #[test]
    fn what_is_not_acknowledged_comes_again_from_the_very_byte() {
        let mut window = Window::default();
        window.push(b"abc".to_vec(), 1);
        window.push(b"def".to_vec(), 2);
        assert_eq!(sent(&mut window), [(0, b"abc".to_vec()), (3, b"def".to_vec())]);
        assert_eq!(window.next(), None);
        window.rewind(4);
        assert_eq!(sent(&mut window), [(4, b"ef".to_vec())]);
        window.acknowledge(6);
        assert!(window.is_empty());
        window.push(b"g".to_vec(), 3);
        assert_eq!(sent(&mut window), [(6, b"g".to_vec())]);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_read_or_long_gone_changes_nothing_else() {
        let mut window = Window::default();
        window.push(b"abc".to_vec(), 1);
        window.acknowledge(u64::MAX);
        window.acknowledge(0);
        assert!(window.is_empty());
        window.push(b"d".to_vec(), 1);
        assert_eq!(window.next().map(|part| part.offset), Some(3));
    }

    #[test]
    fn a_process_that_writes_byte_by_byte_does_not_fill_the_memory() {
        let mut window = Window::default();
        while window.room() > 0 {
            window.push(vec![b'x'], 0);
        }
        assert_eq!(window.chunks.len(), MAX_CHUNKS);
        window.acknowledge(1);
        assert_eq!(window.room(), OUTPUT_WINDOW_BYTES as usize - (MAX_CHUNKS - 1));
    }
}
