//! The socket that the agent connects to, and its connection.
//!
//! Only the agent is let in, the container's init or a child of it: the kernel tells who connects (SO_PEERCRED), so nothing else
//! that reaches the socket can pretend to be it, nor take memory here. One connection stands at a time, because an agent has one: a later one
//! waits until that is closed.

use std::{
    collections::VecDeque,
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::chown,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use appcontainers::runtime::ProcessIdentity;
use appcontainers_wire::{
    agent::{SOCKET_NAME, ToAgent},
    encode,
};
use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

use super::{inbox::Inbox, outgoing::Outgoing};

/// Connections of the init that wait for the present one to end. An agent leaves one behind at times.
const MOST_WAITING: usize = 4;

/// Most connections that are looked at between two looks at the rest.
const ACCEPT_BATCH: usize = 64;

/// Before connections are looked at again when there is no room for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An agent that takes nothing is not listened to when so many bytes wait for it: each of its messages may be worth an answer.
const MOST_UNTAKEN_BYTES: usize = 4 * 1024 * 1024;

/// The monitor's end.
#[derive(Debug)]
pub struct AgentLink {
    listener: UnixListener,
    /// New connections are not looked for before.
    accept_after: Option<Instant>,
    expected: Option<Expected>,
    connection: Option<Connection>,
    waiting: VecDeque<UnixStream>,
    met_stranger: bool,
}

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This process.
    Process(Pid),
    /// The first one that comes and is a child of this one: the container's init waits for it before it lets anything else run.
    ChildOf(Pid),
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    outgoing: Outgoing,
    /// The agent has said hello: it is spoken to.
    is_open: bool,
    /// Nothing can be said to it any more; what it has said is still to be read.
    is_deaf: bool,
}

impl AgentLink {
    /// Binds the socket in `directory`, which then belongs to `owner`, the container's root. Whoever connects waits until
    /// it is said who is expected.
    pub fn bind(directory: &Path, owner: Option<u32>) -> anyhow::Result<Self> {
        let handle = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", directory.display()))?;
        let path = directory.join(SOCKET_NAME);
        match rustix::fs::unlinkat(&handle, SOCKET_NAME, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno).with_context(|| format!("cannot remove {}", path.display())),
        }
        // A socket's path has 107 bytes at the most (unix(7)); one through /proc is always short.
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET_NAME}", handle.as_raw_fd()))
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        listener.set_nonblocking(true)?;
        chown(&path, owner, owner).with_context(|| format!("cannot give away {}", path.display()))?;
        rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR)?;
        let (accept_after, expected, connection, waiting, met_stranger) = (None, None, None, VecDeque::new(), false);
        Ok(Self { listener, accept_after, expected, connection, waiting, met_stranger })
    }

    /// From now on, this process is let in.
    pub fn expect(&mut self, expected: Expected) {
        self.expected = Some(expected);
    }

    /// The agent's process, once it is known.
    pub(crate) fn agent(&self) -> Option<Pid> {
        match self.expected {
            Some(Expected::Process(pid)) => Some(pid),
            Some(Expected::ChildOf(_)) | None => None,
        }
    }

    /// What to poll, to [`AgentLink::receive`] when something is ready.
    pub(crate) fn poll_items(&self) -> [zmq::PollItem<'static>; 2] {
        let looked_for = if self.accept_after.is_some() { zmq::PollEvents::empty() } else { zmq::POLLIN };
        let listener = zmq::PollItem::from_fd(self.listener.as_raw_fd(), looked_for);
        let stream = self.connection.as_ref().map(|connection| {
            let readable = if connection.is_overfull() { zmq::PollEvents::empty() } else { zmq::POLLIN };
            let writable = if connection.outgoing.len() > 0 { zmq::POLLOUT } else { zmq::PollEvents::empty() };
            zmq::PollItem::from_fd(connection.stream.as_raw_fd(), readable | writable)
        });
        let nothing = || zmq::PollItem::from_fd(self.listener.as_raw_fd(), zmq::PollEvents::empty());
        [listener, stream.unwrap_or_else(nothing)]
    }

    /// When to poll again, if nothing is ready before.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.accept_after = self.accept_after.filter(|after| *after > now);
        self.accept_after
    }

    /// Whether messages wait because the agent does not take them.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.outgoing.len() > 0)
    }

    /// The agent has said hello: from now on it is spoken to.
    pub(crate) fn open(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.is_open = true;
        }
    }

    /// Whether the agent has said hello on this connection.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_open)
    }

    /// Reads what has come into the inbox, whose messages were all taken; whether there may be more to read at once.
    pub fn receive(&mut self, inbox: &mut Inbox) -> anyhow::Result<bool> {
        loop {
            let Some(connection) = &mut self.connection else {
                self.accept();
                let Some(stream) = self.waiting.pop_front() else { return Ok(false) };
                self.connection = Some(Connection::new(stream));
                *inbox = Inbox::default();
                continue;
            };
            if connection.is_overfull() {
                self.accept();
                return Ok(false);
            }
            match inbox.read_from(&mut connection.stream) {
                Ok(0) => self.connection = None,
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accept();
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.connection = None,
                Err(error) => return Err(error).context("cannot receive from the agent"),
            }
        }
    }

    /// Looks at whoever has connected: when nothing of the agent's is left to read.
    fn accept(&mut self) {
        if self.expected.is_none() || self.accept_after.is_some() {
            return;
        }
        for _ in 0..ACCEPT_BATCH {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection of the container's");
                    self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream) {
        let peer = appcontainers_sys::process::peer(&stream);
        if let (Ok(Some(peer)), Some(Expected::ChildOf(init))) = (&peer, self.expected)
            && ProcessIdentity::parent_of(*peer) == Some(init)
        {
            self.expected = Some(Expected::Process(*peer));
        }
        if !matches!(&peer, Ok(Some(peer)) if self.agent() == Some(*peer)) {
            // Any process of the container's root may connect, as often as it likes: it is said once.
            if !std::mem::replace(&mut self.met_stranger, true) {
                tracing::warn!(?peer, expected = ?self.expected, "a process that is not the container's agent was refused");
            }
        } else if self.waiting.len() < MOST_WAITING && stream.set_nonblocking(true).is_ok() {
            self.waiting.push_back(stream);
        }
    }

    /// Sends a message, or keeps it until there is room. Without an agent it is dropped: the agent says hello again
    /// and is told what it must know.
    pub(crate) fn send(&mut self, message: &ToAgent, payload: &[u8]) -> anyhow::Result<()> {
        if let Some(connection) = self.connection.as_mut().filter(|connection| connection.is_open) {
            connection.outgoing.push(&encode(message)?, payload)?;
        }
        self.flush();
        Ok(())
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if connection.is_deaf || connection.outgoing.write_to(&mut connection.stream).is_err() {
            connection.is_deaf = true;
            connection.outgoing = Outgoing::default();
        }
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self { stream, outgoing: Outgoing::opening(), is_open: false, is_deaf: false }
    }

    fn is_overfull(&self) -> bool {
        self.outgoing.len() > MOST_UNTAKEN_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use appcontainers_wire::{agent::FromAgent, frame};

    use super::*;

    /// What a DEALER of libzmq's at this socket says; the link reads until its message is there.
    fn hear(link: &mut AgentLink, inbox: &mut Inbox) -> (FromAgent, Vec<u8>) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            link.flush();
            link.receive(inbox).unwrap();
            if let Some((message, payload)) = inbox.take().unwrap() {
                return (message, payload.to_vec());
            }
            assert!(Instant::now() < until, "nothing comes");
            zmq::poll(&mut link.poll_items(), 100).unwrap();
        }
    }

    #[test]
    fn a_dealer_of_libzmqs_is_understood_and_understands() {
        let place = tempfile::tempdir().unwrap();
        let mut link = AgentLink::bind(place.path(), None).unwrap();
        link.expect(Expected::Process(rustix::process::getpid()));
        let context = zmq::Context::new();
        let dealer = context.socket(zmq::DEALER).unwrap();
        dealer.set_rcvtimeo(5000).unwrap();
        dealer.connect(&format!("ipc://{}/a", place.path().display())).unwrap();
        let mut inbox = Inbox::default();
        for payload in [&b""[..], b"x", &vec![7; 65536], &vec![8; 1 << 20]] {
            let hello = FromAgent::Hello { wire: 1, version: "0".repeat(payload.len() / 100) };
            dealer.send_multipart([&encode(&hello).unwrap()[..], payload], 0).unwrap();
            assert!(hear(&mut link, &mut inbox) == (hello, payload.to_vec()));
            link.open();
            link.send(&ToAgent::Noted { process: appcontainers_wire::ProcessId(7) }, payload).unwrap();
            while link.is_blocked() {
                zmq::poll(&mut link.poll_items(), 5000).unwrap();
                link.flush();
            }
            let frames = dealer.recv_multipart(0).unwrap();
            assert_eq!(frames.len(), 1);
            let (header, got) = frame::split(&frames[0]).unwrap();
            assert!(header == br#"{"type":"noted","process":7}"# && got == payload);
        }
    }

    #[test]
    fn whoever_is_not_the_init_is_refused_and_takes_nobodys_place() {
        let place = tempfile::tempdir().unwrap();
        let mut link = AgentLink::bind(place.path(), None).unwrap();
        let mut inbox = Inbox::default();
        let connect = || UnixStream::connect(place.path().join("a")).unwrap();
        let early = connect();
        assert!(!link.receive(&mut inbox).unwrap());
        link.expect(Expected::Process(Pid::INIT));
        for mut stranger in (0..100).map(|_| connect()).chain([early]) {
            assert!(!link.receive(&mut inbox).unwrap());
            assert_eq!(stranger.read(&mut [0]).unwrap(), 0, "it was let in");
        }
        assert!(link.connection.is_none() && link.waiting.is_empty());
    }

    #[test]
    fn the_sockets_file_is_its_owners_alone_whatever_was_there() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("a"), "left behind").unwrap();
        drop(AgentLink::bind(place.path(), None).unwrap());
        let _again = AgentLink::bind(place.path(), None).unwrap();
        let status = std::fs::symlink_metadata(place.path().join("a")).unwrap();
        assert_eq!((status.permissions().mode() & 0o777, status.uid()), (0o600, rustix::process::getuid().as_raw()));
    }
}
