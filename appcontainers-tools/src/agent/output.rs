//! One of a process's output streams: the end of its pipe, or of its terminal, that the agent reads.

use std::{
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::{SystemTime, UNIX_EPOCH},
};

use appcontainers_wire::{ProcessId, Stream, agent::CHUNK_BYTES};
use rustix::io::Errno;

use super::outbox::Outbox;

/// More than a terminal can hold of what nobody has read (8 KiB in the kernel's `pty.c`, 4 KiB in `n_tty.c`), in bytes.
const TERMINAL_BYTES: u64 = 64 * 1024;

/// The read end of a stream.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stream: Stream,
    /// None once nothing holds the other end.
    fd: Option<OwnedFd>,
    /// When the process has ended: how many bytes it left, at most. Those that come later are its children's.
    left: u64,
}

impl Output {
    /// The end of a pipe or a terminal, or of nothing.
    pub(crate) fn new(stream: Stream, fd: Option<OwnedFd>) -> Self {
        Self { stream, fd, left: 0 }
    }

    /// For polling; none once it is over.
    pub(crate) fn raw_fd(&self) -> Option<RawFd> {
        self.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Nothing more comes, or is wanted.
    pub(crate) fn close(&mut self) {
        self.fd = None;
        self.left = 0;
    }

    /// Whether all that the ended process itself wrote is read.
    pub(crate) fn is_settled(&self) -> bool {
        self.left == 0
    }

    /// The process has ended. A pipe says how much it left; a terminal only that there is no more, when it is read.
    pub(crate) fn process_ended(&mut self, is_terminal: bool) {
        let Some(fd) = &self.fd else { return };
        self.left = if is_terminal { TERMINAL_BYTES } else { rustix::io::ioctl_fionread(fd).unwrap_or(0) };
    }

    /// Reads what the ended process left, as far as there is room for it.
    pub(crate) fn read_rest(&mut self, id: ProcessId, outbox: &mut Outbox) {
        while self.left > 0 && self.read(id, outbox) {}
    }

    /// Reads once, no more than there is room for; whether something came.
    pub(crate) fn read(&mut self, id: ProcessId, outbox: &mut Outbox) -> bool {
        let Some(fd) = &self.fd else { return false };
        let room = outbox.room(id, self.stream).min(CHUNK_BYTES);
        if room == 0 {
            return false;
        }
        // As much memory as there are bytes; at least one, to see the end.
        let waiting = rustix::io::ioctl_fionread(fd).unwrap_or(0) as usize;
        let mut bytes = Vec::with_capacity(waiting.clamp(1, room));
        match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => self.close(),
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                outbox.push(id, self.stream, bytes, now_ns());
                return true;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.left = 0,
            // EIO: nobody has the terminal any more.
            Err(_) => self.close(),
        }
        false
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
