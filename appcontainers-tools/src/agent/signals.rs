//! Signals as file descriptor: the agent handles none asynchronously.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use super::Place;

/// SIGRTMIN+3 as the C library counts: how service managers are told to halt.
const HALT: u32 = 34 + 3;

/// What a signal asks of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Children have ended.
    Reap,
    /// Connect at once: a new monitor listens.
    Reconnect,
    /// End everything.
    Shutdown,
}

/// All signals, blocked for this and every later thread.
pub(crate) struct Signals {
    signals: SignalFd,
    place: Place,
}

impl Signals {
    /// Blocks all signals; to be called before there are threads.
    pub(crate) fn open(place: Place) -> io::Result<Self> {
        let all = SigSet::all();
        all.thread_block()?;
        let signals = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, place })
    }

    /// For polling only.
    pub(crate) fn raw_fd(&self) -> RawFd {
        self.signals.as_raw_fd()
    }

    /// The next request. Only the host may reconnect, only the host and an init beside this agent may shut down: what the container's
    /// own processes send (their pid is not 0 here) is passed over.
    pub(crate) fn next(&self) -> Option<Request> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let from_host = info.ssi_pid == 0;
            let from_init = self.place == Place::Beside && info.ssi_pid == 1;
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => return Some(Request::Reap),
                Ok(Signal::SIGUSR1) if from_host => return Some(Request::Reconnect),
                Ok(Signal::SIGTERM) if from_init => return Some(Request::Shutdown),
                Ok(Signal::SIGTERM | Signal::SIGPWR | Signal::SIGINT) if from_host => return Some(Request::Shutdown),
                Err(_) if from_host && info.ssi_signo == HALT => return Some(Request::Shutdown),
                _ => {}
            }
        }
        None
    }
}
