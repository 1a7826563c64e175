//! The sockets: two for other machines, with CURVE, and those of the containers behind them.
//!
//! ```text
//! SUB  ── tcp, CURVE ──► XPUB   proxy   XSUB   ── ipc ──► XPUB of each container that runs
//! REQ  ── tcp, CURVE ──► ROUTER       DEALERs  ── ipc ──► ROUTER of the container that a request names
//! ```
//! Subscriptions go on to the containers, so that only what somebody wants comes here. Nothing here waits for a slow
//! client: what it has no room for is dropped for it alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use crate::{
    authenticator::{self, Authenticator},
    certificate::{Certificate, Key},
    containers::Containers,
    request::{self, Destination},
};

// The limits of the containers' own sockets (`publisher` of appcontainers-monitor), written down again: this program is a
// workspace of its own, built without the other crates, which do not know libzmq. A frame or a request that passes here has to
// pass there, so neither may become larger here alone.

/// Messages that wait for one client, or from all containers, at most.
const MOST_WAITING: i32 = 64;

/// Answers that wait for one client at most. libzmq may count half as many as are taken already.
const MOST_ANSWERS_WAITING: i32 = 8;

/// The longest frame that a client may send.
const MOST_FRAME_BYTES: i64 = 4096;

/// Frames of a request; on the way to the container comes one more.
const MOST_FRAMES: usize = 14;

/// While a container's monitor is not there, it is looked for less and less often, up to this, in milliseconds.
const MOST_RECONNECT_PAUSE: i32 = 2000;

/// How long a request may be on its way to a container that has gone, in milliseconds. Not for ever, and not zero: libzmq
/// (4.3, `session_base.cpp`) aborts when a socket is closed so and its peer goes that has got a part of a message.
const LINGER: i32 = 1000;

/// Before the kernel asks a client that is silent whether it is still there, in seconds.
const KEEPALIVE_IDLE: i32 = 60;

/// Most messages of one socket between two looks at the others.
const BATCH: usize = 64;

pub(crate) struct Proxy {
    output: zmq::Socket,
    requests: zmq::Socket,
    news: zmq::Socket,
    authenticator: Authenticator,
    /// The containers that run, each with the socket for its requests once there was one.
    links: BTreeMap<String, Option<zmq::Socket>>,
    context: zmq::Context,
}

impl Proxy {
    /// Binds the sockets for other machines: from then on, those who are allowed can connect.
    pub(crate) fn bind(
        output: &str,
        requests: &str,
        own: &Certificate,
        allowed: BTreeSet<Key>,
    ) -> anyhow::Result<Self> {
        let context = zmq::Context::new();
        let authenticator = Authenticator::bind(&context, allowed)?;
        let bind = |kind, endpoint: &str, most_waiting| -> anyhow::Result<zmq::Socket> {
            let socket = context.socket(kind)?;
            socket.set_zap_domain(authenticator::DOMAIN)?;
            socket.set_curve_server(true)?;
            socket.set_curve_secretkey(&own.secret)?;
            socket.set_maxmsgsize(MOST_FRAME_BYTES)?;
            socket.set_rcvhwm(MOST_WAITING)?;
            socket.set_sndhwm(most_waiting)?;
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE)?;
            socket.set_ipv6(endpoint.contains('['))?;
            socket.bind(endpoint).with_context(|| format!("cannot listen at {endpoint}"))?;
            Ok(socket)
        };
        let output = bind(zmq::XPUB, output, MOST_WAITING)?;
        let requests = bind(zmq::ROUTER, requests, MOST_ANSWERS_WAITING)?;
        let news = context.socket(zmq::XSUB)?;
        news.set_rcvhwm(MOST_WAITING)?;
        news.set_reconnect_ivl_max(MOST_RECONNECT_PAUSE)?;
        Ok(Self { output, requests, news, authenticator, links: BTreeMap::new(), context })
    }

    /// Passes on between clients and the containers in the current directory, until an error.
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let containers = Containers::watch(".".as_ref()).context("cannot watch the running containers")?;
        self.follow(&containers)?;
        loop {
            let ready = self.wait(&containers)?;
            if ready.containers {
                self.follow(&containers)?;
            }
            if ready.connections {
                self.authenticator.decide()?;
            }
            if ready.subscriptions {
                pass_on(&self.output, &self.news)?;
            }
            if ready.news {
                pass_on(&self.news, &self.output)?;
            }
            if ready.requests {
                self.take_requests()?;
            }
            for link in self.links.values().flatten() {
                pass_on(link, &self.requests)?;
            }
        }
    }

    fn wait(&self, containers: &Containers) -> anyhow::Result<Ready> {
        let mut items = vec![
            zmq::PollItem::from_fd(containers.raw_fd(), zmq::POLLIN),
            self.authenticator.poll_item(),
            self.output.as_poll_item(zmq::POLLIN),
            self.news.as_poll_item(zmq::POLLIN),
            self.requests.as_poll_item(zmq::POLLIN),
        ];
        items.extend(self.links.values().flatten().map(|link| link.as_poll_item(zmq::POLLIN)));
        match zmq::poll(&mut items, -1) {
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |item: usize| !items[item].get_revents().is_empty();
        Ok(Ready {
            containers: is_ready(0),
            connections: is_ready(1),
            subscriptions: is_ready(2),
            news: is_ready(3),
            requests: is_ready(4),
        })
    }

    /// Connects to the containers that have come, and lets go of those that have gone.
    fn follow(&mut self, containers: &Containers) -> anyhow::Result<()> {
        let running = containers.running().context("cannot list the running containers")?;
        for gone in self.links.keys().filter(|name| !running.contains(*name)).cloned().collect::<Vec<_>>() {
            self.links.remove(&gone);
            self.news.disconnect(&endpoint(&gone, "pub"))?;
        }
        for name in running {
            if !self.links.contains_key(&name) {
                self.news.connect(&endpoint(&name, "pub"))?;
                self.links.insert(name, None);
            }
        }
        Ok(())
    }

    fn take_requests(&mut self) -> anyhow::Result<()> {
        for _ in 0..BATCH {
            let Some(mut frames) = receive(&self.requests)? else { return Ok(()) };
            let 2..=MOST_FRAMES = frames.len() else { continue };
            let text = frames.last().map(Vec::as_slice).unwrap_or_default();
            let answer = match request::destination(text) {
                Ok(Destination::Here) => request::containers(self.links.keys()),
                Ok(Destination::Container(name)) => match self.link(&name)? {
                    Some(link) if send(link, &frames)? => continue,
                    Some(_) => request::refusal(&format!("container {name} is busy")),
                    None => request::refusal(&format!("there is no container {name} that runs")),
                },
                Err(why) => request::refusal(&why),
            };
            frames.pop();
            frames.extend([answer, Vec::new()]);
            send(&self.requests, &frames)?;
        }
        Ok(())
    }

    /// The socket for requests to a container, if it runs.
    fn link(&mut self, name: &str) -> anyhow::Result<Option<&zmq::Socket>> {
        let Some(link) = self.links.get_mut(name) else { return Ok(None) };
        if link.is_none() {
            let socket = self.context.socket(zmq::DEALER)?;
            socket.set_sndhwm(MOST_WAITING)?;
            socket.set_rcvhwm(MOST_WAITING)?;
            socket.set_linger(LINGER)?;
            socket.set_reconnect_ivl_max(MOST_RECONNECT_PAUSE)?;
            socket.connect(&endpoint(name, "request"))?;
            *link = Some(socket);
        }
        Ok(link.as_ref())
    }
}

#[derive(Debug)]
struct Ready {
    containers: bool,
    connections: bool,
    subscriptions: bool,
    news: bool,
    requests: bool,
}

/// A container's socket, below the current directory.
fn endpoint(container: &str, socket: &str) -> String {
    format!("ipc://{container}/zmq/{socket}")
}

/// Passes what has come from one socket on to the other, as far as there is room.
fn pass_on(from: &zmq::Socket, to: &zmq::Socket) -> zmq::Result<()> {
    for _ in 0..BATCH {
        let Some(frames) = receive(from)? else { break };
        send(to, &frames)?;
    }
    Ok(())
}

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

/// Whether there was room.
fn send(socket: &zmq::Socket, frames: &[Vec<u8>]) -> zmq::Result<bool> {
    // To send alone, libzmq seldom looks at what its peers have taken, and takes them for slow.
    socket.get_events()?;
    loop {
        match socket.send_multipart(frames, zmq::DONTWAIT) {
            Ok(()) => return Ok(true),
            Err(zmq::Error::EAGAIN | zmq::Error::EHOSTUNREACH) => return Ok(false),
            Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
