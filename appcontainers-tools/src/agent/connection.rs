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
    WireError,
    agent::{FromAgent, SOCKET_NAME, ToAgent},
    decode, encode, frame,
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

/// What happened to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Connected,
    Disconnected,
}

/// The agent's end of the connection. Nothing here blocks.
pub(crate) struct Connection {
    sockets: Sockets,
    context: Context,
    endpoint: String,
    _directory: OwnedFd,
    /// How many pairs of sockets there were.
    generation: u64,
    stands: bool,
    /// A new monitor was announced and has not yet been reached.
    hurried: bool,
    full: bool,
}

/// The DEALER and the socket on which libzmq tells what becomes of its connection.
struct Sockets {
    dealer: Socket,
    events: Socket,
    generation: u64,
}

impl Sockets {
    fn open(context: &Context, endpoint: &str, generation: u64) -> Result<Self, zmq::Error> {
        let dealer = context.socket(zmq::DEALER)?;
        dealer.set_immediate(true)?;
        dealer.set_reconnect_ivl(RECONNECT_MS.0)?;
        dealer.set_reconnect_ivl_max(RECONNECT_MS.1)?;
        dealer.set_sndhwm(HIGH_WATER_MARK)?;
        dealer.set_rcvhwm(HIGH_WATER_MARK)?;
        dealer.set_linger(LINGER_MS)?;
        let watched = SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() | SocketEvent::DISCONNECTED.to_raw();
        let events_endpoint = format!("inproc://events-{generation}");
        dealer.monitor(&events_endpoint, i32::from(watched))?;
        let events = context.socket(zmq::PAIR)?;
        events.set_linger(0)?;
        events.connect(&events_endpoint)?;
        dealer.connect(endpoint)?;
        Ok(Self { dealer, events, generation })
    }
}

impl Drop for Sockets {
    /// No more events before nobody takes them: libzmq's thread waits for whoever takes one, for ever, and it is the only one.
    fn drop(&mut self) {
        if let Err(error) = self.dealer.monitor(&format!("inproc://nothing-{}", self.generation), 0) {
            report::error(format_args!("cannot end the events of a connection: {error}"));
        }
    }
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
        let sockets = Sockets::open(&context, &endpoint, 0)?;
        Ok(Self {
            sockets,
            context,
            endpoint,
            _directory: directory,
            generation: 0,
            stands: false,
            hurried: false,
            full: false,
        })
    }

    /// What to poll: messages and room for them, then changes of the connection.
    pub(crate) fn poll_items(&self) -> [PollItem<'_>; 2] {
        let room = if self.full { zmq::POLLOUT } else { PollEvents::empty() };
        [self.sockets.dealer.as_poll_item(zmq::POLLIN | room), self.sockets.events.as_poll_item(zmq::POLLIN)]
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
        // If the second part is refused, libzmq has dropped the first.
        let dealer = &self.sockets.dealer;
        let sent = dealer.send(header, DONTWAIT | SNDMORE).and_then(|()| dealer.send(payload, DONTWAIT));
        self.full = sent.is_err();
        sent.is_ok()
    }

    /// The next message from the monitor, if there is one. What can't be understood is reported and passed over.
    pub(crate) fn receive(&mut self) -> Option<(ToAgent, Vec<u8>)> {
        loop {
            let parts = self.sockets.dealer.recv_multipart(DONTWAIT).ok()?;
            match read(&parts) {
                Ok(message) => return Some(message),
                Err(error) => report::error(format_args!("passes over a message of the monitor: {error}")),
            }
        }
    }

    /// The next thing that happened to the connection.
    pub(crate) fn change(&mut self) -> Option<Change> {
        loop {
            let parts = self.sockets.events.recv_multipart(DONTWAIT).ok()?;
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

    /// With new sockets: after zmq_disconnect, events of the old connection could come behind those of the new one.
    fn reconnect(&mut self) {
        self.generation += 1;
        match Sockets::open(&self.context, &self.endpoint, self.generation) {
            Ok(sockets) => {
                let old = std::mem::replace(&mut self.sockets, sockets);
                // Nobody is there any more to whom it could send something.
                let _ = old.dealer.set_linger(0);
                self.full = false;
            }
            // The old ones go on trying.
            Err(error) => report::error(format_args!("cannot connect anew to {}: {error}", self.endpoint)),
        }
    }
}

fn read(parts: &[Vec<u8>]) -> Result<(ToAgent, Vec<u8>), WireError> {
    let (header, payload) = match parts {
        // A monitor that sends header and payload in two frames puts its container at risk: see the wire's `agent`.
        [header, payload] => (header.as_slice(), payload.as_slice()),
        parts => frame::split(parts.first().map_or(&[], Vec::as_slice))?,
    };
    Ok((decode(header)?, payload.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    /// Connections that are given up at each moment of their beginning, as when the word of a new monitor comes while libzmq
    /// connects by itself.
    #[test]
    fn a_connection_that_is_given_up_while_it_begins_mutes_no_later_one() {
        let place = tempfile::tempdir().unwrap();
        let endpoint = format!("ipc://{}/{SOCKET_NAME}", place.path().display());
        let monitor = Context::new().socket(zmq::ROUTER).unwrap();
        monitor.bind(&endpoint).unwrap();
        let context = Context::new();
        const GIVEN_UP: u64 = 1000;
        for generation in 0..GIVEN_UP {
            let sockets = Sockets::open(&context, &endpoint, generation).unwrap();
            sockets.dealer.set_linger(0).unwrap();
            thread::sleep(Duration::from_micros(generation % 500));
        }
        let last = Sockets::open(&context, &endpoint, GIVEN_UP).unwrap();
        assert_eq!(last.events.poll(zmq::POLLIN, 10_000), Ok(1), "libzmq says nothing any more");
    }
}
