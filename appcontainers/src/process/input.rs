//! A foreground command's standard input on its way: within a window, and kept until the command has taken it, so that
//! what is lost with a monitor can be sent again.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
};

use appcontainers_wire::{
    agent::{CHUNK_BYTES, STDIN_WINDOW_BYTES},
    client::FromClient,
};

use super::{Connection, RunError, passing::tell};

/// How far the input has come.
#[derive(Debug, Default)]
pub(super) struct Input {
    credit: u64,
    /// Bytes that the command has taken.
    taken: u64,
    /// Those behind them that were sent.
    sent: VecDeque<u8>,
    closed: bool,
}

impl Input {
    /// How many bytes may be sent.
    pub(super) fn credit(&self) -> u64 {
        self.credit
    }

    /// The command has taken so much more; the first such word is the window itself.
    pub(super) fn credited(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes);
        self.forget(bytes);
    }

    fn forget(&mut self, bytes: u64) {
        let known = self.sent.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.sent.drain(..known);
        self.taken += known as u64;
    }

    /// Sends what is there to be read, within the window.
    pub(super) fn pass_on(&mut self, stdin: &mut Option<File>, connection: &mut Connection) -> Result<(), RunError> {
        let Some(file) = stdin else { return Ok(()) };
        let mut buffer = vec![0; CHUNK_BYTES.min(self.credit as usize)];
        match file.read(&mut buffer) {
            Ok(0) => {
                (*stdin, self.closed) = (None, true);
                tell(connection, &FromClient::StdinClose, &[])
            }
            Ok(read) => {
                self.credit -= read as u64;
                self.sent.extend(&buffer[..read]);
                tell(connection, &FromClient::Stdin, &buffer[..read])
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Ok(()),
            Err(error) => Err(RunError::Input(error)),
        }
    }

    /// To a new monitor: what the command's agent has not got. It has `arrived` bytes, of which the command took `taken`.
    pub(super) fn send_again(&mut self, connection: &mut Connection, arrived: u64, taken: u64) -> Result<(), RunError> {
        self.forget(taken.saturating_sub(self.taken));
        self.credit = STDIN_WINDOW_BYTES.saturating_sub(self.sent.len() as u64);
        let arrived = usize::try_from(arrived.saturating_sub(taken)).unwrap_or(usize::MAX).min(self.sent.len());
        let lost: Vec<u8> = self.sent.iter().skip(arrived).copied().collect();
        for chunk in lost.chunks(CHUNK_BYTES) {
            tell(connection, &FromClient::Stdin, chunk)?;
        }
        if self.closed { tell(connection, &FromClient::StdinClose, &[]) } else { Ok(()) }
    }
}
