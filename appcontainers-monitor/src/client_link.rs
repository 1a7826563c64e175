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
    client::{FromClient, ToClient},
    decode, encode, frame,
};

pub(crate) struct ClientLink {
    stream: UnixStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    ended: bool,
}

impl ClientLink {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
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
    pub(crate) fn read_more(&mut self) {
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
    pub(crate) fn send(&mut self, message: &ToClient) {
        match encode(message).and_then(|header| frame::push(&mut self.outgoing, &header, &[])) {
            Ok(()) => self.flush(),
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
