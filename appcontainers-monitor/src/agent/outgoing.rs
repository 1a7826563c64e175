//! What is on its way to the agent and has not left yet.

use std::io::{self, Write};

use appcontainers_wire::{WireError, frame};

use super::zmtp;

/// Room that is kept for what comes next, in bytes.
const KEPT_BYTES: usize = 128 * 1024;

/// Bytes that wait for a socket to have room.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them are gone.
    sent: usize,
}

impl Outgoing {
    /// What is said first on a connection.
    pub(super) fn opening() -> Self {
        Self { bytes: zmtp::opening(), sent: 0 }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Appends a message. One frame: libzmq 4.3 aborts the agent when a monitor dies between two frames of a message.
    pub(super) fn push(&mut self, header: &[u8], payload: &[u8]) -> Result<(), WireError> {
        let before = self.bytes.len();
        zmtp::push_head(&mut self.bytes, frame::PREFIX_BYTES + header.len() + payload.len());
        frame::push(&mut self.bytes, header, payload).inspect_err(|_| self.bytes.truncate(before))
    }

    /// Writes what there is room for.
    pub(super) fn write_to(&mut self, sink: &mut impl Write) -> io::Result<()> {
        while self.len() > 0 {
            match sink.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What waits is not moved for every few bytes that go.
                    if self.sent > self.bytes.len() / 2 {
                        self.bytes.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at once, and every other time none.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
        is_open: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.is_open = !self.is_open;
            if !self.is_open {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_leaves_once_and_in_order() {
        let mut expected = Vec::new();
        let (mut outgoing, mut sink) = (Outgoing::default(), Narrow { width: 333, taken: Vec::new(), is_open: false });
        for round in 0..100_usize {
            let payload = vec![round as u8; 10 * round];
            outgoing.push(b"{}", &payload).unwrap();
            zmtp::push_head(&mut expected, 10 + payload.len());
            frame::push(&mut expected, b"{}", &payload).unwrap();
            outgoing.write_to(&mut sink).unwrap();
        }
        while outgoing.len() > 0 {
            outgoing.write_to(&mut sink).unwrap();
        }
        assert!(sink.taken == expected);
        assert!(outgoing.push(&vec![0; 2 << 20], b"").is_err());
        assert_eq!(outgoing.len(), 0);
    }
}
