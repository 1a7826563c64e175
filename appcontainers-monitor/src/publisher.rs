//! The ZeroMQ sockets for others than `appc`: output and events for whoever subscribes, and answers to requests for what
//! a subscriber has missed. `docs/zeromq.md` describes them.
//!
//! Nothing here waits. What a slow subscriber has no room for is dropped for it alone, and what nobody has subscribed to
//! is not even copied.
//!
//! The event loop waits for the sockets' own descriptors: asking libzmq costs system calls in each turn, and where nobody
//! subscribes there is nothing to ask. Such a descriptor tells of news once: whoever has used the socket in another way has
//! to look for them before the next wait.

use std::{
    collections::BTreeSet,
    fmt, fs,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::Path,
};

use anyhow::Context as _;
use appcontainers::{ContainerName, event::Event, output::RecordHeader, state::create_directory};
use appcontainers_wire::{ProcessId, Stream, agent::CHUNK_BYTES};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;

/// The sockets' directory in the container's run directory; only the host's root can pass it.
const DIRECTORY: &str = "zmq";

/// Where the sockets are made: their directory appears with both of them in it.
const NEW_DIRECTORY: &str = "zmq.new";

/// Messages that wait for one subscriber, at most; each has [`CHUNK_BYTES`] of output at most.
const MOST_WAITING: i32 = 64;

/// Answers of a megabyte at most that wait for one client. libzmq may count half as many as are taken already.
const MOST_ANSWERS_WAITING: i32 = 8;

/// The longest topic that somebody subscribes to, and the longest frame of a request. The proxy has the same.
const MOST_FRAME_BYTES: i64 = 4096;

/// Frames of a request: proxies on the way each add some.
const MOST_FRAMES: usize = 16;

/// How long the last messages may be on their way when the container has ended, in milliseconds. Not zero: libzmq (4.3,
/// `session_base.cpp`) aborts when a socket is closed so and a peer goes that has got a part of a message.
const FAREWELL_MS: i32 = 1000;

pub(crate) struct Publisher {
    // Fields drop in this order: libzmq removes the sockets' files by a path through the directory's descriptor.
    output: zmq::Socket,
    requests: zmq::Socket,
    _directory: OwnedFd,
    container: ContainerName,
    /// What topics that somebody wants begin with.
    subscriptions: BTreeSet<Vec<u8>>,
    /// Whether there may be subscriptions, or requests, of which the descriptors do not tell.
    look_for: LookFor,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("container", &self.container).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LookFor {
    subscriptions: bool,
    requests: bool,
}

/// What was asked for, and by whom.
pub(crate) struct Asked {
    envelope: Vec<Vec<u8>>,
    pub(crate) text: Vec<u8>,
}

#[derive(Serialize)]
struct OutputHeader<'a> {
    container: &'a ContainerName,
    process: ProcessId,
    stream: Stream,
    offset: u64,
    position: u64,
    time: Option<Timestamp>,
}

/// What happened to the container and is in no journal, or will be.
#[derive(Serialize)]
struct Unnumbered<'a> {
    time: Timestamp,
    container: &'a ContainerName,
    kind: &'a str,
}

impl Publisher {
    /// Binds both sockets below the container's run directory.
    pub(crate) fn bind(run: &Path, container: &ContainerName) -> anyhow::Result<Self> {
        let (place, new) = (run.join(DIRECTORY), run.join(NEW_DIRECTORY));
        // It is there if another monitor has died. Its subscribers connect again to what they find there.
        let is_new = !place.is_dir();
        let bound_in = if is_new { &new } else { &place };
        if is_new {
            create_directory(&new, 0o700).with_context(|| format!("cannot create {}", new.display()))?;
        }
        let directory = rustix::fs::open(bound_in, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", bound_in.display()))?;
        // A socket's path has 107 bytes at the most (unix(7)); one through /proc is always short.
        let endpoint = |name| format!("ipc:///proc/self/fd/{}/{name}", directory.as_raw_fd());

        let context = zmq::Context::new();
        let output = context.socket(zmq::XPUB)?;
        output.set_sndhwm(MOST_WAITING)?;
        output.set_maxmsgsize(MOST_FRAME_BYTES)?;
        output.set_linger(FAREWELL_MS)?;
        output.bind(&endpoint("pub"))?;

        let requests = context.socket(zmq::ROUTER)?;
        requests.set_rcvhwm(MOST_WAITING)?;
        requests.set_sndhwm(MOST_ANSWERS_WAITING)?;
        requests.set_maxmsgsize(MOST_FRAME_BYTES)?;
        requests.set_linger(FAREWELL_MS)?;
        requests.bind(&endpoint("request"))?;

        if is_new {
            fs::rename(&new, &place).with_context(|| format!("cannot rename {}", new.display()))?;
        }
        let (container, subscriptions) = (container.clone(), BTreeSet::new());
        let look_for = LookFor { subscriptions: true, requests: true };
        Ok(Self { output, requests, _directory: directory, container, subscriptions, look_for })
    }

    /// Readable when there may be subscriptions, and when there may be requests.
    pub(crate) fn raw_fds(&self) -> zmq::Result<[RawFd; 2]> {
        Ok([self.output.get_fd()?, self.requests.get_fd()?])
    }

    /// Whether there may be a request of which nothing tells.
    pub(crate) fn may_have_requests(&self) -> bool {
        self.look_for.requests
    }

    /// Takes who has subscribed to what and who no longer has, if that is due or `told`.
    pub(crate) fn take_subscriptions(&mut self, told: bool) -> zmq::Result<()> {
        if !std::mem::take(&mut self.look_for.subscriptions) && !told {
            return Ok(());
        }
        while let Some(frames) = receive(&self.output)? {
            match frames.first().and_then(|frame| frame.split_first()) {
                Some((1, topic)) => drop(self.subscriptions.insert(topic.to_vec())),
                Some((0, topic)) => drop(self.subscriptions.remove(topic)),
                _ => {}
            }
        }
        Ok(())
    }

    fn is_wanted(&self, topic: &str) -> bool {
        self.subscriptions.iter().any(|prefix| topic.as_bytes().starts_with(prefix))
    }

    /// Publishes output that is in the log, in a record at `position`.
    pub(crate) fn output(&mut self, record: &RecordHeader, position: u64, payload: &[u8]) -> anyhow::Result<()> {
        if self.subscriptions.is_empty() {
            return Ok(());
        }
        let RecordHeader { process, stream, mut offset, time_ns, .. } = *record;
        let topic = format!("output/{}/{process}/{}", self.container, stream_name(stream));
        if !self.is_wanted(&topic) {
            return Ok(());
        }
        for bytes in payload.chunks(CHUNK_BYTES) {
            let (container, time) = (&self.container, time(time_ns));
            let header = serde_json::to_vec(&OutputHeader { container, process, stream, offset, position, time })?;
            self.send([topic.as_bytes(), &header, bytes])?;
            offset = offset.saturating_add(bytes.len() as u64);
        }
        Ok(())
    }

    /// Publishes an event that is in the journal.
    pub(crate) fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        self.tell(&event.kind, event)
    }

    /// Publishes that the container does not run any more. Whoever clears up writes that to the journal.
    pub(crate) fn died(&mut self) -> anyhow::Result<()> {
        let kind = "die";
        let container = self.container.clone();
        self.tell(kind, &Unnumbered { time: Timestamp::now(), container: &container, kind })
    }

    fn tell(&mut self, kind: &str, event: &impl Serialize) -> anyhow::Result<()> {
        let topic = format!("event/{}/{kind}", self.container);
        if self.is_wanted(&topic) {
            let header = serde_json::to_vec(event)?;
            self.send([topic.as_bytes(), &header, b""])?;
        }
        Ok(())
    }

    fn send(&mut self, frames: [&[u8]; 3]) -> zmq::Result<()> {
        self.output.send_multipart(frames, zmq::DONTWAIT)?;
        // To send alone, libzmq seldom looks at what subscribers have taken, and takes them for slow.
        self.look_for.subscriptions |= self.output.get_events()?.contains(zmq::POLLIN);
        Ok(())
    }

    /// The next request, if one is due or `told`.
    pub(crate) fn next_request(&mut self, told: bool) -> zmq::Result<Option<Asked>> {
        if !std::mem::take(&mut self.look_for.requests) && !told {
            return Ok(None);
        }
        while let Some(mut frames) = receive(&self.requests)? {
            if let 2..=MOST_FRAMES = frames.len()
                && let Some(text) = frames.pop()
            {
                self.look_for.requests = true;
                return Ok(Some(Asked { envelope: frames, text }));
            }
        }
        Ok(None)
    }

    /// Answers. Who is gone, or does not take its answers, gets none.
    pub(crate) fn answer(&self, asked: Asked, header: Vec<u8>, payload: Vec<u8>) -> zmq::Result<()> {
        // To send alone, libzmq seldom looks at what clients have taken, and would drop an answer to one that waits for it.
        self.requests.get_events()?;
        let frames = asked.envelope.into_iter().chain([header, payload]);
        match self.requests.send_multipart(frames, zmq::DONTWAIT) {
            Err(zmq::Error::EAGAIN | zmq::Error::EHOSTUNREACH) => Ok(()),
            sent => sent,
        }
    }
}

/// The frames of the next message, if there is one.
fn receive(socket: &zmq::Socket) -> zmq::Result<Option<Vec<Vec<u8>>>> {
    loop {
        match socket.recv_multipart(zmq::DONTWAIT) {
            Ok(frames) => return Ok(Some(frames)),
            Err(zmq::Error::EAGAIN) => return Ok(None),
            Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// When the agent has read a piece of output, as it says; none if that is no time.
pub(crate) fn time(time_ns: u64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(time_ns.into()).ok()
}

fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

#[cfg(test)]
mod tests;
