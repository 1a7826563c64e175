//! A process's standard input: what has come for it and is not yet written to its pipe or terminal.

use std::{
    collections::VecDeque,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use rustix::{io::Errno, termios::SpecialCodeIndex};

/// ^D: what ends a terminal's input unless the terminal is told otherwise.
const END_OF_TRANSMISSION: u8 = 4;

/// The end of the input that the agent holds. Nothing here blocks.
#[derive(Debug)]
pub(crate) struct Input {
    fd: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    /// How much of the queue's first is written.
    written: usize,
    /// No more will be queued.
    closing: bool,
    /// None for a pipe.
    terminal: Option<TerminalEnd>,
}

/// A terminal's input is not closed: a character says that it ends.
#[derive(Debug, Default)]
struct TerminalEnd {
    /// Whether the last that was written is no whole line.
    in_line: bool,
    /// What is still to be written, once all that was queued is.
    left: Option<Vec<u8>>,
}

/// What became of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It goes on, later perhaps.
    Open,
    /// All is written, or nobody takes it any more.
    Over,
}

impl Input {
    /// For a pipe's write end, or for a terminal's master.
    pub(crate) fn new(fd: OwnedFd, is_terminal: bool) -> Self {
        let terminal = is_terminal.then(TerminalEnd::default);
        Self { fd, queue: VecDeque::new(), written: 0, closing: false, terminal }
    }

    /// For polling: the descriptor, while something is to be written to it.
    pub(crate) fn waiting_fd(&self) -> Option<RawFd> {
        let is_ending = self.terminal.as_ref().is_some_and(|terminal| terminal.left.is_some());
        (!self.queue.is_empty() || is_ending).then(|| self.fd.as_raw_fd())
    }

    /// Takes bytes, unless it was closed.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        if self.closing {
            return Err(bytes);
        }
        self.queue.push_back(bytes);
        Ok(())
    }

    /// Nothing more is pushed.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// How many bytes wait.
    pub(crate) fn queued_bytes(&self) -> u64 {
        (self.queue.iter().map(Vec::len).sum::<usize>() - self.written) as u64
    }

    /// Writes what is taken now, and tells how much was.
    pub(crate) fn write(&mut self, mut taken: impl FnMut(u64)) -> Written {
        while let Some(first) = self.queue.front() {
            match rustix::io::write(&self.fd, &first[self.written..]) {
                Ok(count) => {
                    taken(count as u64);
                    self.written += count;
                    if self.written == first.len() {
                        if let Some(terminal) = &mut self.terminal {
                            terminal.in_line = first.last().is_some_and(|byte| !b"\r\n".contains(byte));
                        }
                        self.queue.pop_front();
                        self.written = 0;
                    }
                }
                Err(Errno::AGAIN) => return Written::Open,
                Err(Errno::INTR) => {}
                // Nobody reads it any more.
                Err(_) => return Written::Over,
            }
        }
        match &mut self.terminal {
            _ if !self.closing => Written::Open,
            None => Written::Over,
            Some(terminal) => terminal.write_end(&self.fd),
        }
    }
}

impl TerminalEnd {
    /// The end's character gives a reader what there is of the line; only at a line's begin that is nothing, the end.
    fn write_end(&mut self, fd: &OwnedFd) -> Written {
        let left = self.left.get_or_insert_with(|| {
            let character = rustix::termios::tcgetattr(fd).map_or(0, |set| set.special_codes[SpecialCodeIndex::VEOF]);
            let character = if character == 0 { END_OF_TRANSMISSION } else { character };
            vec![character; if self.in_line { 2 } else { 1 }]
        });
        while !left.is_empty() {
            match rustix::io::write(fd, &*left) {
                Ok(count) => drop(left.drain(..count)),
                Err(Errno::AGAIN) => return Written::Open,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        Written::Over
    }
}
