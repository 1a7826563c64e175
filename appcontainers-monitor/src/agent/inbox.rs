//! What the agent says: bytes in, messages out. Holds one message that is not whole, and nothing that was only announced.

use std::io::{self, Read};

use anyhow::{Error, anyhow, ensure};
use appcontainers_wire::{MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, agent::FromAgent, decode};

use super::{
    quoted,
    zmtp::{GREETING_BYTES, Head, MAX_COMMAND_BYTES, check_greeting, check_ready},
};

/// How much is read at once, in bytes; more than a socket holds.
const READ_BYTES: usize = 256 * 1024;

/// What comes next on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Greeting,
    Ready,
    Messages,
}

/// One connection's bytes that are read and not yet taken.
#[derive(Debug, Default)]
pub struct Inbox {
    /// What was read is from `start` to `end`; behind that is room.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    stage: Stage,
}

impl Inbox {
    /// Reads what has come; how many bytes that is. The caller has taken all messages that are whole.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            // It is full of one message, whose frames are not longer than they may be.
            self.buffer.resize((2 * self.buffer.len()).max(READ_BYTES), 0);
        }
        let read = source.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// The next message that is whole, and its payload. An error ends the session.
    pub fn take(&mut self) -> anyhow::Result<Option<(FromAgent, &[u8])>> {
        if self.stage != Stage::Messages && !self.open()? {
            return Ok(None);
        }
        let Some(header) = Head::read(&self.buffer[self.start..self.end], MAX_HEADER_BYTES)? else { return Ok(None) };
        ensure!(!header.is_command, "the agent's socket sent a command, which nobody asked for");
        ensure!(header.more, "the agent sent a message of one frame");
        let header_at = self.start + header.bytes;
        let payload_head_at = header_at + header.length;
        let Some(rest) = self.buffer[..self.end].get(payload_head_at..) else { return Ok(None) };
        let Some(payload) = Head::read(rest, MAX_PAYLOAD_BYTES)? else { return Ok(None) };
        ensure!(!payload.is_command && !payload.more, "the agent sent a message of more than two frames");
        let payload_at = payload_head_at + payload.bytes;
        let end = payload_at + payload.length;
        if end > self.end {
            return Ok(None);
        }
        let message = decode(&self.buffer[header_at..payload_head_at])
            // It has the agent's own words in it.
            .map_err(|error| {
                anyhow!("the agent sent what is no message: {}", quoted(&format!("{:#}", Error::new(error))))
            })?;
        self.start = end;
        Ok(Some((message, &self.buffer[payload_at..end])))
    }

    /// Takes what a connection begins with; whether it is all there.
    fn open(&mut self) -> anyhow::Result<bool> {
        if self.stage == Stage::Greeting {
            let Some(greeting) = self.buffer[self.start..self.end].first_chunk::<GREETING_BYTES>() else {
                return Ok(false);
            };
            check_greeting(greeting)?;
            self.start += GREETING_BYTES;
            self.stage = Stage::Ready;
        }
        let rest = &self.buffer[self.start..self.end];
        let Some(head) = Head::read(rest, MAX_COMMAND_BYTES)? else { return Ok(false) };
        ensure!(head.is_command, "the agent's socket sent a message before READY");
        let Some(command) = rest.get(head.bytes..head.bytes + head.length) else { return Ok(false) };
        check_ready(command)?;
        self.start += head.bytes + head.length;
        self.stage = Stage::Messages;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use appcontainers_wire::{ProcessId, Stream, encode};

    use super::{super::zmtp::opening, *};

    fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![flags | 2];
        frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    fn output(offset: u64) -> FromAgent {
        FromAgent::Output { process: ProcessId(7), stream: Stream::Stdout, offset, time_ns: 1 }
    }

    fn message(message: &FromAgent, payload: &[u8]) -> Vec<u8> {
        [frame(1, &encode(message).unwrap()), frame(0, payload)].concat()
    }

    /// All messages in `bytes`, which come in pieces, and why there are no more.
    fn read(bytes: &[u8], piece: usize) -> (Vec<(FromAgent, Vec<u8>)>, Option<String>) {
        let (mut inbox, mut messages) = (Inbox::default(), Vec::new());
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() {
                inbox.read_from(&mut piece).unwrap();
                loop {
                    match inbox.take() {
                        Ok(Some((message, payload))) => messages.push((message, payload.to_vec())),
                        Ok(None) => break,
                        Err(error) => return (messages, Some(format!("{error:#}"))),
                    }
                }
                assert!(inbox.buffer.len() <= 4 * (MAX_HEADER_BYTES + MAX_PAYLOAD_BYTES));
            }
        }
        (messages, None)
    }

    #[test]
    fn messages_come_out_whatever_their_pieces() {
        let payloads = [0, 1, 300, 65536, MAX_PAYLOAD_BYTES].map(|length| vec![length as u8; length]);
        let bytes: Vec<_> = payloads.iter().map(|payload| message(&output(9), payload)).collect();
        let bytes = [opening(), bytes.concat()].concat();
        for piece in [1009, 100_000, bytes.len()] {
            let (messages, error) = read(&bytes, piece);
            assert_eq!(error, None);
            assert_eq!(messages.len(), payloads.len());
            for ((message, payload), expected) in messages.iter().zip(&payloads) {
                assert!(*message == output(9) && payload == expected);
            }
        }
        assert_eq!(read(&[opening(), message(&output(9), b"x")].concat(), 1).0, [(output(9), b"x".to_vec())]);
    }

    #[test]
    fn what_is_no_message_is_named() {
        let header = encode(&output(0)).unwrap();
        let long = vec![b' '; MAX_HEADER_BYTES + 1];
        for (bytes, named) in [
            (frame(0, &header), "one frame"),
            ([frame(1, &header), frame(1, b"")].concat(), "more than two frames"),
            ([frame(1, &header), frame(4, b"")].concat(), "more than two frames"),
            (frame(4, b"\x04PING"), "a command"),
            (frame(1, &long), "1048577 bytes"),
            ([frame(1, &header), frame(0, &long)].concat(), "1048577 bytes"),
            ([frame(1, b"{}"), frame(0, b"")].concat(), "no message"),
            ([frame(1, &[b'['; 100_000]), frame(0, b"")].concat(), "no message"),
            (
                [frame(1, &[b"{\"type\":\"\\u001b", &long[1000..], b"\"}"].concat()), frame(0, b"")].concat(),
                "variant `\u{fffd}",
            ),
            (frame(8, b""), "flags 0x0a"),
            (vec![3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "18446744073709551615 bytes"),
        ] {
            let bytes = [opening(), message(&output(0), b"a"), bytes].concat();
            let (messages, error) = read(&bytes, 10_000);
            let error = error.unwrap_or_default();
            assert!(error.contains(named), "{named}: {error}");
            assert!(error.len() < 500 && !error.contains(char::is_control), "{error:?}");
            assert_eq!(messages, [(output(0), b"a".to_vec())]);
        }
    }

    #[test]
    fn a_length_that_is_only_announced_takes_no_memory() {
        let announced = [opening(), vec![3, 0, 0, 0, 0, 0, 0x10, 0, 0]].concat();
        let mut inbox = Inbox::default();
        inbox.read_from(&mut announced.as_slice()).unwrap();
        assert!(inbox.take().unwrap().is_none());
        assert_eq!(inbox.buffer.len(), READ_BYTES);
    }

    #[test]
    fn a_peer_that_does_not_begin_as_a_dealer_does_is_refused() {
        for (at, byte, named) in [
            (0, 0, "ZMTP"),
            (10, 2, "version 2"),
            (12, b'C', "encryption"),
            (GREETING_BYTES, 0, "before READY"),
            (GREETING_BYTES + 3, b'X', "another command"),
            (GREETING_BYTES, 0x40, "flags"),
        ] {
            let mut bytes = opening();
            bytes[at] = byte;
            let error = read(&bytes, 7).1.unwrap_or_default();
            assert!(error.contains(named), "{named}: {error}");
        }
        assert_eq!(read(&opening()[..80], 1), (Vec::new(), None));
    }
}
