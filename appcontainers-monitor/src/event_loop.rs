//! Waits for the agent, the clients, the init's end and deadlines, and hands each to the [`Monitor`].

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use appcontainers::{
    ContainerName, Paths,
    life::LifePlan,
    limits::Limits,
    network::{HeldPorts, Reservations},
    record::ContainerRecord,
    runtime::{StartRecord, free_agent, is_frozen, set_frozen},
};
use rustix::process::{Signal, pidfd_send_signal};

use crate::{
    agent::Inbox,
    client_link::ClientLink,
    monitor::{Action, Monitor},
    oom::OomWatch,
    publisher::Publisher,
    system_init::{NO_INIT, SystemInit},
};

/// How long a container's agent may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(20);

/// How long clients that do not read hold up the end of the monitor.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Before clients are looked for again when there is no room for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct EventLoop<'a> {
    pub(crate) monitor: &'a mut Monitor,
    pub(crate) inbox: Inbox,
    pub(crate) listener: UnixListener,
    pub(crate) init: OwnedFd,
    pub(crate) start: StartRecord,
    pub(crate) system: Option<SystemInit>,
    pub(crate) oom: OomWatch,
    pub(crate) paths: &'a Paths,
    pub(crate) name: &'a ContainerName,
    pub(crate) ports: HeldPorts,
    /// New clients are not looked for before.
    pub(crate) accept_after: Option<Instant>,
}

struct Ready {
    agent: bool,
    listener: bool,
    init: bool,
    subscriptions: bool,
    requests: bool,
    agent_ended: bool,
    out_of_memory: bool,
    health: bool,
    clients: Vec<bool>,
}

impl EventLoop<'_> {
    /// Runs until the container's init has ended. An error means that the container can't go on.
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let hello_until = Instant::now() + HELLO_TIMEOUT;
        let mut actions = Vec::new();
        loop {
            let ready = self.wait(hello_until)?;
            if ready.agent || ready.init {
                // What its init said last is all there when the container has ended.
                while self.monitor.hear(&mut self.inbox)? && ready.init {}
            }
            if ready.listener {
                self.accept();
            }
            self.look_after_system(ready.agent_ended)?;
            for (link, ready) in self.monitor.client_links().zip(&ready.clients) {
                if *ready {
                    link.flush();
                    link.read_more();
                }
            }
            self.monitor.serve_clients(&mut actions)?;
            self.monitor.tick(Instant::now(), &mut actions)?;
            self.look_after_health(ready.health)?;
            // In this order: acknowledgements that were held back because the agent took nothing go out in the turn in which
            // it takes something again. Behind it there may be no other.
            self.monitor.agent.flush();
            self.monitor.settle()?;
            for action in actions.drain(..) {
                self.act(action)?;
            }
            self.oom.look(self.monitor, &self.start, ready.init, ready.out_of_memory);
            self.monitor.announce();
            self.monitor.answer_request(ready.requests);
            self.monitor.take_subscriptions(ready.subscriptions);
            if ready.init {
                if !self.monitor.is_ready() {
                    let hint = if self.system.is_some() { NO_INIT } else { "" };
                    bail!("the container's init ended before it answered{hint}");
                }
                return Ok(());
            }
            if !self.monitor.is_greeted() && Instant::now() >= hello_until {
                bail!("the container's agent did not answer within {} s", HELLO_TIMEOUT.as_secs());
            }
        }
    }

    /// Looks after the container's health, if something of that is due.
    fn look_after_health(&mut self, socket_is_ready: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        if !socket_is_ready && self.monitor.health_deadline().is_none_or(|due| now < due) {
            return Ok(());
        }
        let Self { monitor, start, paths, name, .. } = self;
        // All reservations are read for it, so it is asked for as seldom as can be.
        let address = || Some(Reservations::read(paths).ok()?.get(name)?.ip);
        monitor.tick_health(now, socket_is_ready, || is_frozen(start), address)
    }

    /// Does what a container with an init of its own wants.
    fn look_after_system(&mut self, agent_ended: bool) -> anyhow::Result<()> {
        let Some(system) = &mut self.system else { return Ok(()) };
        if system.meet(self.monitor.agent.agent(), &mut self.start)? {
            self.start.store(self.paths, self.name)?;
            if let Err(error) = free_agent(&self.start, limits(self.paths, self.name).nofile) {
                tracing::warn!(%error, "the agent has the container's limit of open files");
            }
        }
        if agent_ended {
            system.agent_ended();
        }
        if self.monitor.is_stopping() {
            system.halt(&self.init, self.start.init.map_or(0, |init| init.pid));
        }
        system.check(Instant::now())
    }

    /// Sends what is left. A client that follows a command is waited for as long as it lives: its exit code is in what is
    /// left, and it may be slow to read. Others have some seconds.
    pub(crate) fn farewell(self) {
        let Self { monitor, listener, .. } = self;
        // Whoever connects now is told at once that nobody is there.
        drop(listener);
        let until = Instant::now() + FAREWELL_TIMEOUT;
        loop {
            let links = monitor.blocked_links(Instant::now() >= until);
            let mut items: Vec<_> =
                links.iter().map(|link| zmq::PollItem::from_fd(link.raw_fd(), zmq::POLLOUT)).collect();
            if items.is_empty() || zmq::poll(&mut items, FAREWELL_TIMEOUT.as_millis() as i64).is_err() {
                return;
            }
            monitor.client_links().for_each(ClientLink::flush);
        }
    }

    fn wait(&mut self, hello_until: Instant) -> anyhow::Result<Ready> {
        let now = Instant::now();
        self.accept_after = self.accept_after.filter(|after| *after > now);
        let hello_until = (!self.monitor.is_greeted()).then_some(hello_until);
        let without_agent = self.system.as_ref().and_then(SystemInit::deadline);
        let until =
            [self.monitor.deadline(), self.monitor.agent.deadline(now), hello_until, self.accept_after, without_agent];
        let until = until.into_iter().chain([self.oom.deadline()]);
        let publisher = self.monitor.announcer.publisher.as_ref();
        let published = publisher.and_then(|publisher| publisher.raw_fds().ok());
        let timeout = match until.flatten().min() {
            _ if publisher.is_some_and(Publisher::may_have_requests) => 0,
            // Rounded up: a wait that ends a little early would spin.
            Some(until) => until.saturating_duration_since(now).as_millis() as i64 + 1,
            None => -1,
        };
        let clients: Vec<_> = self
            .monitor
            .client_links()
            .map(|link| {
                let writable = if link.is_blocked() { zmq::POLLOUT } else { zmq::PollEvents::empty() };
                zmq::PollItem::from_fd(link.raw_fd(), zmq::POLLIN | writable)
            })
            .collect();
        let looked_for = if self.accept_after.is_some() { zmq::PollEvents::empty() } else { zmq::POLLIN };
        let mut items = vec![
            zmq::PollItem::from_fd(self.listener.as_raw_fd(), looked_for),
            zmq::PollItem::from_fd(self.init.as_raw_fd(), zmq::POLLIN),
        ];
        items.extend(self.monitor.agent.poll_items());
        items.extend(published.into_iter().flatten().map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN)));
        let first_client = items.len();
        let agent_process = self.system.as_ref().and_then(SystemInit::raw_fd);
        items.extend(clients);
        let clients_end = items.len();
        items.extend(agent_process.map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN)));
        let agent_end = items.len();
        items.extend(self.oom.raw_fd().map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN)));
        let health = items.len();
        items.extend(self.monitor.health_socket().map(|(fd, is_connecting)| {
            zmq::PollItem::from_fd(fd, if is_connecting { zmq::POLLOUT } else { zmq::POLLIN })
        }));
        match zmq::poll(&mut items, timeout) {
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |item: &zmq::PollItem<'_>| !item.get_revents().is_empty();
        Ok(Ready {
            listener: is_ready(&items[0]),
            init: is_ready(&items[1]),
            agent: items[2..4].iter().any(is_ready),
            subscriptions: items[4..first_client].first().is_some_and(is_ready),
            requests: items[4..first_client].last().is_some_and(is_ready),
            clients: items[first_client..clients_end].iter().map(is_ready).collect(),
            agent_ended: items[clients_end..agent_end].iter().any(is_ready),
            out_of_memory: items[agent_end..health].iter().any(is_ready),
            health: items[health..].iter().any(is_ready),
        })
    }

    /// Takes a new client. That one can't be taken is no reason to end the container.
    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((stream, _)) => match ClientLink::new(stream) {
                Ok(link) => self.monitor.add_client(link),
                Err(error) => tracing::warn!(%error, "cannot talk to a client"),
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take a client");
                // It waits on, and would be told of again at once.
                self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
            }
        }
    }

    /// Has the container stand still, or go on. That it is paused is recorded before it is, and until it is no more, for whoever
    /// adopts it.
    fn pause(&mut self, paused: bool) -> anyhow::Result<()> {
        if self.start.paused == paused {
            return Ok(());
        }
        self.start.paused = paused;
        self.start.store(self.paths, self.name)?;
        if (paused || !self.monitor.is_held_frozen())
            && let Err(error) = set_frozen(&self.start, paused)
        {
            self.start.paused = !paused;
            let _ = set_frozen(&self.start, !paused);
            self.start.store(self.paths, self.name)?;
            return Err(error.into());
        }
        self.monitor.set_paused(paused)
    }

    fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Freeze => match set_frozen(&self.start, true) {
                Ok(()) => self.monitor.frozen(),
                Err(error) => self.monitor.not_frozen(&format!("cannot freeze the container: {error}")),
            },
            Action::Thaw => {
                if let Err(error) = set_frozen(&self.start, false) {
                    tracing::error!(%error, "cannot thaw the container");
                }
                self.monitor.set_frozen(false);
            }
            Action::Pause(client) => {
                let paused = self.pause(true);
                self.monitor
                    .tell_result(client, paused.map_err(|error| format!("cannot pause the container: {error:#}")));
            }
            Action::Unpause(client) => {
                let moving = self.pause(false).map_err(|error| format!("cannot have the container go on: {error:#}"));
                match client {
                    Some(client) => self.monitor.tell_result(client, moving),
                    None => drop(moving.inspect_err(|error| tracing::error!("{error}"))),
                }
            }
            Action::ReadLimits(client) => {
                self.monitor.set_nofile(limits(self.paths, self.name).nofile);
                self.monitor.tell_result(client, Ok(()));
            }
            Action::HoldPorts => {
                let held = self.ports.follow(self.paths, self.name);
                self.monitor.ports_held(held.map_err(|error| format!("{:#}", anyhow::Error::new(error))));
            }
            Action::RecordKept => {
                self.start.kept = true;
                if let Err(error) = self.start.store(self.paths, self.name) {
                    tracing::error!(%error, "cannot record that the container is to run on");
                }
            }
            Action::KillInit => {
                if let Err(errno) = pidfd_send_signal(&self.init, Signal::KILL) {
                    tracing::error!(%errno, "cannot kill the container's init");
                }
            }
            Action::ReadLife(client) => {
                let record = ContainerRecord::load(self.paths, self.name).map_err(anyhow::Error::new);
                let plan = record.and_then(|record| Ok(LifePlan::of(&record.context("it has no configuration")?)));
                self.monitor.life_read(client, plan)?;
            }
        }
        Ok(())
    }
}

/// What the container's configuration limits it to now.
pub(crate) fn limits(paths: &Paths, name: &ContainerName) -> Limits {
    let record =
        ContainerRecord::load(paths, name).inspect_err(|error| tracing::warn!(%error, "its limits can't be read"));
    record.ok().flatten().map(|record| record.settings.limits).unwrap_or_default()
}
