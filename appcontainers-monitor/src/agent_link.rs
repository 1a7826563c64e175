//! The ZeroMQ socket to the container's agent.
//!
//! Only the container's init is listened to: the kernel tells its pid with the connection (`Peer-Address`,
//! SO_PEERCRED), so nothing else that reaches the socket can pretend to be it.

use std::{
    collections::VecDeque,
    os::{fd::AsRawFd, unix::fs::chown},
    path::Path,
};

use anyhow::{Context as _, bail};
use appcontainers_wire::{
    MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES,
    agent::{FromAgent, ToAgent},
    decode, encode, frame,
};
use rustix::fs::{Mode, OFlags};

/// Messages of one connection that libzmq holds; few, so that a slow side is felt at once.
const HIGH_WATER_MARK: i32 = 64;

pub(crate) struct AgentLink {
    // Fields drop in this order: the socket before its context.
    socket: zmq::Socket,
    context: zmq::Context,
    init_pid: i32,
    identity: Option<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    met_stranger: bool,
}

/// What came from the container.
pub(crate) enum Received {
    /// Nothing is there.
    Nothing,
    /// Something that is not the agent's, which is passed over.
    Strange,
    /// The agent's message and its payload.
    Message(FromAgent, zmq::Message),
}

impl AgentLink {
    /// Binds the socket `a` in `directory`, which then belongs to `owner`, the container's root.
    pub(crate) fn bind(directory: &Path, owner: Option<u32>) -> anyhow::Result<Self> {
        let handle = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", directory.display()))?;
        let context = zmq::Context::new();
        let socket = context.socket(zmq::ROUTER)?;
        socket.set_router_mandatory(true)?;
        socket.set_rcvhwm(HIGH_WATER_MARK)?;
        socket.set_sndhwm(4 * HIGH_WATER_MARK)?;
        socket.set_maxmsgsize((MAX_HEADER_BYTES + MAX_PAYLOAD_BYTES) as i64)?;
        socket.set_linger(0)?;
        // A socket's path has 107 bytes at the most (unix(7)); one through /proc is always short.
        socket.bind(&format!("ipc:///proc/self/fd/{}/a", handle.as_raw_fd()))?;
        let path = directory.join("a");
        chown(&path, owner, owner).with_context(|| format!("cannot give away {}", path.display()))?;
        rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { socket, context, init_pid: 0, identity: None, outgoing: VecDeque::new(), met_stranger: false })
    }

    /// For other sockets of this process.
    pub(crate) fn context(&self) -> &zmq::Context {
        &self.context
    }

    /// From now on, this process is listened to.
    pub(crate) fn expect(&mut self, init_pid: i32) {
        self.init_pid = init_pid;
    }

    pub(crate) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.socket.as_poll_item(zmq::POLLIN)
    }

    /// Whether messages wait because libzmq has no room.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes what came next, if anything did. What of the agent is not a message ends its session: an error.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Received> {
        let Some(identity) = self.frame()? else { return Ok(Received::Nothing) };
        // libzmq itself makes the identity; what the peer sent tells who it is.
        let mut header = self.following(&identity)?;
        let peer = header.gets("Peer-Address").unwrap_or_default();
        if peer_pid(peer) != Some(self.init_pid) {
            // Any process of the container's root may send anything, as often as it likes: it is said once.
            if !std::mem::replace(&mut self.met_stranger, true) {
                tracing::warn!(
                    peer,
                    expected = self.init_pid,
                    "a process that is not the container's init spoke; ignored"
                );
            }
            self.pass_over(header)?;
            return Ok(Received::Strange);
        }
        let payload = self.following(&header)?;
        if payload.get_more() {
            bail!("the agent sent a message of more than two frames");
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            bail!("the agent sent a payload of {} bytes", payload.len());
        }
        let message: FromAgent = decode(&header).context("the agent sent what is no message")?;
        if let FromAgent::Hello { .. } = message {
            self.identity = Some(identity.to_vec());
            self.outgoing.clear();
        } else if self.identity.as_deref() != Some(&*identity) {
            return Ok(Received::Strange);
        }
        Ok(Received::Message(message, payload))
    }

    /// Takes what is left of a message; libzmq has a message's frames together or not at all.
    fn pass_over(&self, mut frame: zmq::Message) -> anyhow::Result<()> {
        while frame.get_more() {
            frame = self.frame()?.context("a message is not whole")?;
        }
        Ok(())
    }

    fn frame(&self) -> anyhow::Result<Option<zmq::Message>> {
        loop {
            match self.socket.recv_msg(zmq::DONTWAIT) {
                Ok(message) => return Ok(Some(message)),
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error).context("cannot receive from the agent"),
            }
        }
    }

    /// The frame after `before`; libzmq has a message's frames together or not at all.
    fn following(&self, before: &zmq::Message) -> anyhow::Result<zmq::Message> {
        if !before.get_more() {
            bail!("the agent sent a message of too few frames");
        }
        self.frame()?.context("the agent's message is not whole")
    }

    /// Sends a message, or keeps it until there is room. Without an agent it is dropped: the agent says hello again
    /// and is told what it must know.
    pub(crate) fn send(&mut self, message: &ToAgent, payload: &[u8]) -> anyhow::Result<()> {
        if self.identity.is_some() {
            // One frame: libzmq 4.3 aborts the agent when a monitor dies between two frames of a message.
            self.outgoing.push_back(frame::join(&encode(message)?, payload)?);
        }
        self.flush()
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let Some(identity) = &self.identity else { return Ok(()) };
        while let Some(message) = self.outgoing.front() {
            match self.socket.send_multipart([identity, message], zmq::DONTWAIT) {
                Ok(()) => drop(self.outgoing.pop_front()),
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(zmq::Error::EHOSTUNREACH) => {
                    self.identity = None;
                    self.outgoing.clear();
                    return Ok(());
                }
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error).context("cannot send to the agent"),
            }
        }
        Ok(())
    }
}

/// The pid at the end of libzmq's `ADDRESS:UID:GID:PID`.
fn peer_pid(address: &str) -> Option<i32> {
    address.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_pid_is_the_last_number() {
        assert_eq!(peer_pid(":0:0:4711"), Some(4711));
        assert_eq!(peer_pid("localhost:0:0:4711"), Some(4711));
        assert_eq!(peer_pid(""), None);
    }

    #[test]
    fn the_kernel_names_the_pid_of_whoever_connects() {
        let place = tempfile::tempdir().unwrap();
        let mut link = AgentLink::bind(place.path(), None).unwrap();
        link.expect(std::process::id() as i32);
        let context = zmq::Context::new();
        let dealer = context.socket(zmq::DEALER).unwrap();
        dealer.connect(&format!("ipc://{}/a", place.path().display())).unwrap();
        let hello = encode(&FromAgent::Hello { wire: 1, version: "0".to_owned() }).unwrap();
        dealer.send_multipart([&hello[..], b""], 0).unwrap();
        zmq::poll(&mut [link.poll_item()], 5000).unwrap();
        assert!(matches!(link.receive().unwrap(), Received::Message(FromAgent::Hello { .. }, _)));

        link.expect(1);
        dealer.send_multipart([&hello[..], b""], 0).unwrap();
        zmq::poll(&mut [link.poll_item()], 5000).unwrap();
        assert!(matches!(link.receive().unwrap(), Received::Strange));
    }

    #[test]
    fn what_a_stranger_sends_never_ends_the_agents_session() {
        let place = tempfile::tempdir().unwrap();
        let mut link = AgentLink::bind(place.path(), None).unwrap();
        link.expect(1);
        let context = zmq::Context::new();
        let dealer = context.socket(zmq::DEALER).unwrap();
        dealer.connect(&format!("ipc://{}/a", place.path().display())).unwrap();
        let messages: [&[&[u8]]; 3] = [&[b"no message", b""], &[b"1", b"2", b"3", b"4"], &[b"alone"]];
        for frames in messages {
            dealer.send_multipart(frames, 0).unwrap();
            zmq::poll(&mut [link.poll_item()], 5000).unwrap();
            assert!(matches!(link.receive().unwrap(), Received::Strange));
            assert!(matches!(link.receive().unwrap(), Received::Nothing));
        }
    }
}
