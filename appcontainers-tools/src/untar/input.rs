//! Standard input, with an end when this process is asked to end: so what is half written can be removed first.

use std::{
    fs::File,
    io::{self, Read},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::event::{PollFd, PollFlags, poll};

/// Standard input.
pub(super) struct Input {
    stdin: File,
    signals: SignalFd,
}

impl Input {
    /// Takes over the signals by which a process is asked to end.
    pub(super) fn open() -> io::Result<Self> {
        let mut asked = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
            asked.add(signal);
        }
        asked.thread_block()?;
        let signals = SignalFd::with_flags(&asked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { stdin: File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?), signals })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut fds = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.stdin, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        if fds[0].revents().contains(PollFlags::IN) {
            return Err(io::Error::other("ended by a signal"));
        }
        self.stdin.read(buffer)
    }
}
