//! The DEALER socket to the host's monitor and what libzmq tells of its connection.
//!
//! The socket's directory is held open, so nothing that is mounted or unmounted in the container later changes
//! where the agent connects.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use appcontainers_wire::{
    agent::{FromAgent, SOCKET_NAME, ToAgent},
    decode, encode,
};
use rustix::fs::{Mode, OFlags};
use zmq::{Context, DONTWAIT, PollEvents, PollItem, SNDMORE, Socket, SocketEvent};

use crate::report;

/// First and longest pause before libzmq connects again.
const RECONNECT_MS: (i32, i32) = (100, 5_000);

/// Messages in libzmq's queues: a queue is memory, and speed does not grow with it.
const HIGH_WATER_MARK: i32 = 64;

/// How long the end of the agent waits for libzmq to hand the last messages to the kernel.
const LINGER_MS: i32 = 2_000;

/// Where libzmq tells what becomes of the connection.
const EVENTS_ENDPOINT: &str = "inproc://connection";

/// What happened to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Connected,
    Disconnected,
}

/// The agent's end of the connection. Nothing here blocks.
pub(crate) struct Connection {
    // Sockets before their context: a context waits for its sockets.
    dealer: Socket,
    events: Socket,
    _context: Context,
    _directory: OwnedFd,
    endpoint: String,
    stands: bool,
    /// A new monitor was announced and has not yet been reached.
    hurried: bool,
    full: bool,
}

impl Connection {
    /// Begins to connect to the socket in `directory`. The working directory is /proc from now on.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        rustix::process::chdir("/proc")?;
        // Relative, so that it works with whatever a privileged container mounts on /proc.
        let endpoint = format!("ipc://self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
        let context = Context::new();
        let dealer = context.socket(zmq::DEALER)?;
        dealer.set_immediate(true)?;
        dealer.set_reconnect_ivl(RECONNECT_MS.0)?;
        dealer.set_reconnect_ivl_max(RECONNECT_MS.1)?;
        dealer.set_sndhwm(HIGH_WATER_MARK)?;
        dealer.set_rcvhwm(HIGH_WATER_MARK)?;
        dealer.set_linger(LINGER_MS)?;
        let watched = SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() | SocketEvent::DISCONNECTED.to_raw();
        dealer.monitor(EVENTS_ENDPOINT, i32::from(watched))?;
        let events = context.socket(zmq::PAIR)?;
        events.set_linger(0)?;
        events.connect(EVENTS_ENDPOINT)?;
        dealer.connect(&endpoint)?;
        Ok(Self {
            dealer,
            events,
            _context: context,
            _directory: directory,
            endpoint,
            stands: false,
            hurried: false,
            full: false,
        })
    }

    /// What to poll: messages and room for them, then changes of the connection.
    pub(crate) fn poll_items(&self) -> [PollItem<'_>; 2] {
        let room = if self.full { zmq::POLLOUT } else { PollEvents::empty() };
        [self.dealer.as_poll_item(zmq::POLLIN | room), self.events.as_poll_item(zmq::POLLIN)]
    }

    /// Sends a message; false if there is no room for it now.
    pub(crate) fn send(&mut self, message: &FromAgent, payload: &[u8]) -> bool {
        let header = match encode(message) {
            Ok(header) => header,
            Err(error) => {
                // Can't be: every message is encodable. Saying that it was taken keeps the rest going.
                report::error(format_args!("cannot write a message: {error}"));
                return true;
            }
        };
        // A queue takes a whole message once it has taken the first part of it.
        let sent = self.dealer.send(header, DONTWAIT | SNDMORE).and_then(|()| self.dealer.send(payload, DONTWAIT));
        self.full = sent.is_err();
        sent.is_ok()
    }

    /// The next message from the monitor, if there is one. What can't be understood is reported and passed over.
    pub(crate) fn receive(&mut self) -> Option<(ToAgent, Vec<u8>)> {
        loop {
            let mut parts = self.dealer.recv_multipart(DONTWAIT).ok()?.into_iter();
            let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match decode(&header) {
                Ok(message) => return Some((message, payload)),
                Err(error) => report::error(format_args!("passes over a message of the monitor: {error}")),
            }
        }
    }

    /// The next thing that happened to the connection.
    pub(crate) fn change(&mut self) -> Option<Change> {
        loop {
            let parts = self.events.recv_multipart(DONTWAIT).ok()?;
            let code = parts.first().and_then(|part| part.first_chunk::<2>()).map(|bytes| u16::from_ne_bytes(*bytes));
            let change = match code.map(SocketEvent::from_raw) {
                Some(SocketEvent::HANDSHAKE_SUCCEEDED) => Change::Connected,
                Some(SocketEvent::DISCONNECTED) => Change::Disconnected,
                _ => continue,
            };
            self.stands = change == Change::Connected;
            if self.stands {
                self.hurried = false;
            } else if self.hurried {
                self.reconnect();
            }
            return Some(change);
        }
    }

    /// Connects at once instead of after the pause. If the connection still seems to stand, this is done when it breaks:
    /// the word of a new monitor may be here before the end of the old one's connection.
    pub(crate) fn hurry(&mut self) {
        self.hurried = true;
        if !self.stands {
            self.reconnect();
        }
    }

    fn reconnect(&mut self) {
        let again = self.dealer.disconnect(&self.endpoint).and_then(|()| self.dealer.connect(&self.endpoint));
        if let Err(error) = again {
            report::error(format_args!("cannot connect to {}: {error}", self.endpoint));
        }
    }
}
