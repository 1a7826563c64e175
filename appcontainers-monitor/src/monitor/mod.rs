//! The state of one running container, owned here alone.
//!
//! ```text
//! Starting --Hello--> Ready --Stop, or the last `run` ended--> Stopping --init's end--> Ended
//!     \__________________init's end, or no Hello in time________________________________/
//! ```
//! A container that nobody asked to keep goes when its last command has ended and no client is left that may still
//! ask for one. A client's requests wait in its socket until the container is ready. A foreground command belongs to its
//! client: when that is gone, the command gets HUP, and KILL a grace later.

mod from_agent;
mod from_client;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use appcontainers::output::{DEFAULT_LOG_BYTES, LogWriter};
use appcontainers_wire::{
    ProcessId, ProcessSpec,
    agent::{StreamOffset, ToAgent},
    client::ToClient,
};

use crate::{agent_link::AgentLink, client_link::ClientLink};

/// Between TERM and KILL when the last `run` in a container has ended.
const LAST_OUT_GRACE: Duration = Duration::from_secs(10);

/// How much longer than the grace an agent may take to end.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// More than anybody waits for; times are added to it.
const LONGEST_GRACE: Duration = Duration::from_secs(366 * 24 * 3600);

const SIGKILL: u8 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// The init is killed at this time if it still lives.
    Stopping(Instant),
}

/// What the owner of the container's kernel objects is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Freeze,
    Thaw,
    KillInit,
}

struct Process {
    client: Option<u64>,
    /// Bytes in the log: stdout, stderr.
    logged: [u64; 2],
    started: bool,
    ended: bool,
    /// Standard input that the agent has and that it has not given back credit for, in bytes.
    input_bytes: u64,
    kill_at: Option<Instant>,
}

struct Client {
    link: ClientLink,
    process: Option<ProcessId>,
    told: u64,
    consumed: Option<u64>,
    freezes: bool,
}

pub(crate) struct Monitor {
    pub(crate) agent: AgentLink,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    processes: BTreeMap<ProcessId, Process>,
    next_process: u32,
    /// The processes that have ended and are still remembered, in the order of their ends.
    ended: VecDeque<ProcessId>,
    log: LogWriter,
    held_acks: Vec<StreamOffset>,
    phase: Phase,
    /// Nobody asked for this container to run longer than the commands in it.
    until_last_out: bool,
    startup: Vec<ProcessSpec>,
    init_pid: u32,
}

impl Monitor {
    /// `startup` holds the commands that run before the container is ready; none if it was started for a command.
    pub(crate) fn new(agent: AgentLink, log: LogWriter, init_pid: u32, startup: Option<Vec<ProcessSpec>>) -> Self {
        Self {
            agent,
            clients: BTreeMap::new(),
            next_client: 0,
            processes: BTreeMap::new(),
            next_process: 1,
            ended: VecDeque::new(),
            log,
            held_acks: Vec::new(),
            phase: Phase::Starting,
            until_last_out: startup.is_none(),
            startup: startup.unwrap_or_default(),
            init_pid,
        }
    }

    pub(crate) fn add_client(&mut self, link: ClientLink) {
        let client = Client { link, process: None, told: 0, consumed: None, freezes: false };
        let id = self.next_client;
        self.next_client += 1;
        self.clients.insert(id, client);
        if self.phase != Phase::Starting {
            self.send_ready(id);
        }
    }

    pub(crate) fn client_links(&mut self) -> impl Iterator<Item = &mut ClientLink> {
        self.clients.values_mut().map(|client| &mut client.link)
    }

    /// Links with messages that their clients do not read; only those of clients that follow a command, if `followers`.
    pub(crate) fn blocked_links(&self, followers: bool) -> Vec<&ClientLink> {
        let clients = self.clients.values().filter(|client| client.process.is_some() || !followers);
        clients.map(|client| &client.link).filter(|link| link.is_blocked()).collect()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase != Phase::Starting
    }

    /// When something is due, if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let kills = self.processes.values().filter_map(|process| process.kill_at);
        let stop = match self.phase {
            Phase::Stopping(until) => Some(until),
            Phase::Starting | Phase::Ready => None,
        };
        kills.chain(stop).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) -> anyhow::Result<()> {
        for (id, process) in &mut self.processes {
            if process.kill_at.is_some_and(|at| at <= now) {
                process.kill_at = None;
                self.agent.send(&ToAgent::Signal { process: *id, signal: SIGKILL }, &[])?;
            }
        }
        if let Phase::Stopping(until) = self.phase
            && until <= now
        {
            tracing::warn!("the agent did not end in time; killing it");
            self.phase = Phase::Stopping(now + STOP_MARGIN);
            actions.push(Action::KillInit);
        }
        Ok(())
    }

    fn stop_if_last_out(&mut self) -> anyhow::Result<()> {
        // Whether it came first or later: a foreground command holds the container. A startup command does not.
        let holds = |process: &Process| process.client.is_some() && !process.ended;
        let may_ask = |client: &Client| client.process.is_none();
        if self.until_last_out
            && self.phase == Phase::Ready
            && !self.processes.values().any(holds)
            && !self.clients.values().any(may_ask)
        {
            self.stop(LAST_OUT_GRACE)?;
        }
        Ok(())
    }

    fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        let grace = grace.min(LONGEST_GRACE);
        let until = Instant::now() + grace + STOP_MARGIN;
        match self.phase {
            // Somebody else has less patience than this one: the agent has heard of that.
            Phase::Stopping(earlier) if earlier <= until => return Ok(()),
            Phase::Stopping(_) => {}
            Phase::Starting | Phase::Ready => {
                for client in self.clients.values_mut() {
                    client.link.send(&ToClient::Stopping);
                }
            }
        }
        self.phase = Phase::Stopping(until);
        self.agent.send(&ToAgent::Shutdown { grace_ms: grace.as_millis() as u64 }, &[])
    }

    fn tell_owner(&mut self, process: ProcessId, message: &ToClient) {
        let owner = self.processes.get(&process).and_then(|process| process.client);
        self.tell(owner, message);
    }

    fn tell(&mut self, owner: Option<u64>, message: &ToClient) {
        if let Some(client) = owner.and_then(|id| self.clients.get_mut(&id)) {
            client.link.send(message);
        }
    }

    /// Lets the agent go on as far as foreground readers keep up, and tells all how far the log goes.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let position = self.log.position();
        let slowest = self.clients.values().filter_map(|client| client.consumed).min().unwrap_or(position);
        // While the agent does not take them, later acknowledgements replace earlier ones here.
        if position - slowest <= DEFAULT_LOG_BYTES && !self.agent.is_blocked() {
            for ack in std::mem::take(&mut self.held_acks) {
                self.agent.send(&ToAgent::Ack(ack), &[])?;
            }
        }
        self.log.drop_oldest(slowest)?;
        for client in self.clients.values_mut() {
            if client.process.is_some() && client.told < position && !client.link.is_blocked() {
                client.told = position;
                client.link.send(&ToClient::Logged { position });
            }
        }
        Ok(())
    }

    /// The start failed, or the container can't go on: says so to every client.
    pub(crate) fn fail(&mut self, why: &str) {
        for client in self.clients.values_mut() {
            client.link.send(&ToClient::Failed { message: why.to_owned() });
        }
    }

    /// The container's init is gone: says so to every client.
    pub(crate) fn stopped(&mut self) {
        let position = self.log.position();
        for client in self.clients.values_mut() {
            if client.process.is_some() {
                client.link.send(&ToClient::Logged { position });
            }
            client.link.send(&ToClient::Stopped);
        }
    }
}
