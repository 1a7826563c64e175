//! One client's socket: frames in, frames out, never waiting.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
};

use anyhow::Context as _;
use appcontainers_wire::{
    agent::OUTPUT_WINDOW_BYTES,
    client::{FromClient, ToClient},
    decode, encode, frame,
};

/// More than any client is owed that reads at all. What comes from the container may be passed on to a client, and
/// a container must not fill the host's memory through one that stands still. A file operation's output is bounded by
/// the agent's window for each of its streams.
const MOST_WAITING_BYTES: usize = 4 * OUTPUT_WINDOW_BYTES as usize;

/// The monitor's end.
#[derive(Debug)]
pub struct ClientLink {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    ended: bool,
}

impl ClientLink {
    /// A client that is connected.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, incoming: Vec::new(), outgoing: Vec::new(), ended: false })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Whether the client is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether messages wait because the client does not read.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.ended && !self.outgoing.is_empty()
    }

    /// Reads what has come.
    pub fn read_more(&mut self) {
        let mut buffer = [0; 128 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => self.incoming.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.ended = true,
        }
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<(FromClient, Vec<u8>)>> {
        let Some(found) = frame::peek(&self.incoming)? else { return Ok(None) };
        let message = decode(found.header).context("a client sent what is no message")?;
        let (payload, length) = (found.payload.to_vec(), found.length);
        self.incoming.drain(..length);
        Ok(Some((message, payload)))
    }

    /// Sends a message, or keeps it until there is room.
    pub(crate) fn send(&mut self, message: &ToClient, payload: &[u8]) {
        match encode(message).and_then(|header| frame::push(&mut self.outgoing, &header, payload)) {
            Ok(()) => {
                self.flush();
                if self.outgoing.len() > MOST_WAITING_BYTES {
                    tracing::warn!("a client does not take what it is told; it is let go");
                    self.ended = true;
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot write a message to a client");
                self.ended = true;
            }
        }
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while !self.ended && !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_read_is_let_go_before_it_fills_the_memory() {
        let (ours, _silent) = UnixStream::pair().unwrap();
        let mut link = ClientLink::new(ours).unwrap();
        let mut sent = 0;
        while !link.has_ended() {
            link.send(&ToClient::StdinCredit { bytes: 1 }, &[]);
            sent += 1;
            assert!(sent < 4_000_000, "it is never let go");
        }
        assert!(link.outgoing.len() <= MOST_WAITING_BYTES + 1024);
    }
}
