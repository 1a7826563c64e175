//! The state of one running container, owned here alone.
//!
//! ```text
//! Starting --Hello--> Ready --Stop, or the last `run` ended--> Stopping --init's end--> Ended
//!     \__________________init's end, or no Hello in time________________________________/
//! ```
//! A container that nobody asked to keep goes when its last command has ended and no client is left that may still
//! ask for one. A client's requests wait in its socket until the container is ready. A foreground command belongs to its
//! client: when that is gone, the command gets HUP, and KILL a grace later.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use anyhow::bail;
use appcontainers::output::{DEFAULT_LOG_BYTES, LogWriter, RecordHeader};
use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, SpawnFailure, Stream, WIRE_VERSION,
    agent::{FromAgent, STDIN_WINDOW_BYTES, StreamOffset, ToAgent},
    client::{FromClient, ToClient},
};

use crate::{agent_link::AgentLink, client_link::ClientLink};

/// Between HUP and KILL for a command whose client is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// Between TERM and KILL when the last `run` in a container has ended.
const LAST_OUT_GRACE: Duration = Duration::from_secs(10);

/// How much longer than the grace an agent may take to end.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// More than anybody waits for; times are added to it.
const LONGEST_GRACE: Duration = Duration::from_secs(366 * 24 * 3600);

/// How many processes that have ended are remembered: children of theirs may write on.
const MOST_ENDED: usize = 1024;

const SIGHUP: u8 = 1;
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

    pub(crate) fn take_from_agent(&mut self, message: FromAgent, payload: &[u8]) -> anyhow::Result<()> {
        match message {
            FromAgent::Hello { wire, version } => return self.welcome(wire, &version),
            FromAgent::Started { process, pid } => {
                let state = self.processes.get_mut(&process);
                if state.is_some_and(|state| !std::mem::replace(&mut state.started, true)) {
                    self.tell_owner(process, &ToClient::Started { pid });
                    self.check_ready()?;
                }
            }
            FromAgent::SpawnFailed { process, failure } => self.spawn_failed(process, failure)?,
            FromAgent::Output { process, stream, offset, time_ns } => {
                self.log_output(process, stream, offset, time_ns, payload)?;
            }
            FromAgent::StdinCredit { process, bytes } => {
                self.give_credit(process, bytes);
            }
            FromAgent::Exited { process, status } => self.exited(process, status)?,
        }
        Ok(())
    }

    fn welcome(&mut self, wire: u32, version: &str) -> anyhow::Result<()> {
        if wire != WIRE_VERSION {
            bail!("the agent ({version}) speaks version {wire} of the wire, this monitor {WIRE_VERSION}");
        }
        let streams = self.processes.iter().flat_map(|(id, process)| {
            [Stream::Stdout, Stream::Stderr].map(|stream| StreamOffset {
                process: *id,
                stream,
                offset: process.logged[index(stream)],
            })
        });
        self.agent.send(&ToAgent::Welcome { wire: WIRE_VERSION, streams: streams.collect() }, &[])?;
        if self.phase == Phase::Starting {
            for spec in std::mem::take(&mut self.startup) {
                self.spawn(None, spec)?;
            }
            self.check_ready()?;
        }
        Ok(())
    }

    fn check_ready(&mut self) -> anyhow::Result<()> {
        if self.phase == Phase::Starting && self.processes.values().all(|process| process.started) {
            self.phase = Phase::Ready;
            for id in self.clients.keys().copied().collect::<Vec<_>>() {
                self.send_ready(id);
            }
        }
        self.stop_if_last_out()
    }

    fn send_ready(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.link.send(&ToClient::Ready { wire: WIRE_VERSION, init_pid: self.init_pid });
        }
    }

    fn spawn(&mut self, client: Option<u64>, spec: ProcessSpec) -> anyhow::Result<ProcessId> {
        let id = ProcessId(self.next_process);
        self.next_process += 1;
        let (started, ended) = (false, false);
        let process = Process { client, logged: [0, 0], started, ended, input_bytes: 0, kill_at: None };
        self.processes.insert(id, process);
        self.agent.send(&ToAgent::Spawn { process: id, spec }, &[])?;
        Ok(id)
    }

    fn spawn_failed(&mut self, process: ProcessId, failure: SpawnFailure) -> anyhow::Result<()> {
        if self.phase == Phase::Starting {
            bail!("a startup command cannot be run: {failure}");
        }
        let owner = self.processes.remove(&process).and_then(|process| process.client);
        self.agent.send(&ToAgent::Noted { process }, &[])?;
        self.stop_if_last_out()?;
        self.tell(owner, &ToClient::SpawnFailed { failure });
        Ok(())
    }

    fn exited(&mut self, process: ProcessId, status: ExitStatus) -> anyhow::Result<()> {
        let Some(state) = self.processes.get_mut(&process) else { return Ok(()) };
        state.kill_at = None;
        // Children may hold its pipes and write on, so the streams stay known for a while.
        let is_news = !std::mem::replace(&mut state.ended, true);
        self.agent.send(&ToAgent::Noted { process }, &[])?;
        if !is_news {
            return Ok(());
        }
        // That it was the last one out comes first: then its client waits for the container's end.
        self.stop_if_last_out()?;
        let position = self.log.position();
        self.tell_owner(process, &ToClient::Exited { status, position });
        self.ended.push_back(process);
        if self.ended.len() > MOST_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.processes.remove(&oldest);
        }
        Ok(())
    }

    /// The agent gives credit back for input that it got, not more.
    fn give_credit(&mut self, process: ProcessId, bytes: u64) {
        let Some(state) = self.processes.get_mut(&process) else { return };
        let bytes = bytes.min(state.input_bytes);
        if bytes > 0 {
            state.input_bytes -= bytes;
            self.tell_owner(process, &ToClient::StdinCredit { bytes });
        }
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

    fn log_output(
        &mut self,
        process: ProcessId,
        stream: Stream,
        offset: u64,
        time_ns: u64,
        payload: &[u8],
    ) -> anyhow::Result<()> {
        if process.0 == 0 || process.0 >= self.next_process {
            bail!("the agent sent output of process {process}, which was never started");
        }
        // Of a process that is forgotten: what was acknowledged does not come again.
        let mut forgotten = offset;
        let state = self.processes.get_mut(&process);
        let logged = state.map_or(&mut forgotten, |state| &mut state.logged[index(stream)]);
        if offset > *logged {
            bail!("the agent left out bytes {logged} to {offset} of process {process}");
        }
        // What comes again after a reconnect may begin in the middle of what is there.
        let known = usize::try_from(*logged - offset)?.min(payload.len());
        let new = &payload[known..];
        if !new.is_empty() {
            let header = RecordHeader { process, stream, offset: *logged, time_ns, length: new.len() as u32 };
            self.log.append(&header, new)?;
            *logged = logged.saturating_add(new.len() as u64);
        }
        let ack = StreamOffset { process, stream, offset: *logged };
        self.held_acks.retain(|held| (held.process, held.stream) != (process, stream));
        self.held_acks.push(ack);
        Ok(())
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

    /// Takes what clients have sent, and lets go of those that are gone.
    pub(crate) fn serve_clients(&mut self, actions: &mut Vec<Action>) -> anyhow::Result<()> {
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            while self.phase != Phase::Starting
                && let Some(client) = self.clients.get_mut(&id)
            {
                match client.link.next() {
                    Ok(Some((message, payload))) => self.take_from_client(id, message, &payload, actions)?,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!("{error:#}");
                        self.drop_client(id, actions)?;
                    }
                }
            }
            if self.clients.get(&id).is_some_and(|client| client.link.has_ended()) {
                self.drop_client(id, actions)?;
            }
        }
        Ok(())
    }

    fn take_from_client(
        &mut self,
        id: u64,
        message: FromClient,
        payload: &[u8],
        actions: &mut Vec<Action>,
    ) -> anyhow::Result<()> {
        let process = self.clients.get(&id).and_then(|client| client.process);
        match (message, process) {
            (FromClient::Run { spec, stop_after }, None) => self.run(id, spec, stop_after)?,
            (FromClient::Stdin, Some(process)) => {
                if let Some(state) = self.processes.get_mut(&process) {
                    state.input_bytes += payload.len() as u64;
                }
                self.agent.send(&ToAgent::Stdin { process }, payload)?;
            }
            (FromClient::StdinClose, Some(process)) => self.agent.send(&ToAgent::StdinClose { process }, &[])?,
            (FromClient::Signal { signal }, Some(process)) => {
                self.agent.send(&ToAgent::Signal { process, signal }, &[])?;
            }
            (FromClient::Consumed { position }, _) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.consumed = Some(position);
                }
            }
            (FromClient::Keep { startup }, _) => self.keep(id, startup)?,
            (FromClient::Stop { grace_ms }, _) => {
                // What is frozen can't end.
                actions.push(Action::Thaw);
                self.stop(Duration::from_millis(grace_ms))?;
            }
            (FromClient::Freeze, _) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.freezes = true;
                }
                actions.push(Action::Freeze);
            }
            (FromClient::Thaw, _) => self.thaw(id, actions),
            (message, _) => self.refuse(id, &format!("this connection cannot do {message:?} now")),
        }
        Ok(())
    }

    fn run(&mut self, client: u64, spec: ProcessSpec, stop_after: bool) -> anyhow::Result<()> {
        if let Phase::Stopping(_) = self.phase {
            if let Some(client) = self.clients.get_mut(&client) {
                client.link.send(&ToClient::Stopping);
            }
            return Ok(());
        }
        let stdin = spec.stdin;
        self.until_last_out |= stop_after;
        let position = self.log.position();
        let process = self.spawn(Some(client), spec)?;
        if let Some(client) = self.clients.get_mut(&client) {
            client.process = Some(process);
            client.told = position;
            client.consumed = Some(position);
            client.link.send(&ToClient::Accepted { process, position });
            if stdin {
                client.link.send(&ToClient::StdinCredit { bytes: STDIN_WINDOW_BYTES });
            }
        }
        Ok(())
    }

    fn keep(&mut self, client: u64, startup: Vec<ProcessSpec>) -> anyhow::Result<()> {
        let answer = match self.phase {
            Phase::Stopping(_) => ToClient::Stopping,
            Phase::Starting | Phase::Ready => ToClient::Kept { was_kept: !self.until_last_out },
        };
        if let ToClient::Kept { was_kept: false } = answer {
            self.until_last_out = false;
            for spec in startup {
                self.spawn(None, spec)?;
            }
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.link.send(&answer);
        }
        Ok(())
    }

    /// A freeze that the kernel has done.
    pub(crate) fn frozen(&mut self) {
        for client in self.clients.values_mut().filter(|client| client.freezes) {
            client.link.send(&ToClient::Frozen);
        }
    }

    /// A freeze that the kernel has not done.
    pub(crate) fn not_frozen(&mut self, why: &str) {
        for client in self.clients.values_mut().filter(|client| client.freezes) {
            client.freezes = false;
            client.link.send(&ToClient::Failed { message: why.to_owned() });
        }
    }

    fn thaw(&mut self, id: u64, actions: &mut Vec<Action>) {
        if let Some(client) = self.clients.get_mut(&id)
            && std::mem::take(&mut client.freezes)
            && !self.clients.values().any(|other| other.freezes)
        {
            actions.push(Action::Thaw);
        }
    }

    fn refuse(&mut self, id: u64, why: &str) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.link.send(&ToClient::Failed { message: why.to_owned() });
        }
    }

    fn drop_client(&mut self, id: u64, actions: &mut Vec<Action>) -> anyhow::Result<()> {
        self.thaw(id, actions);
        let Some(client) = self.clients.remove(&id) else { return Ok(()) };
        if let Some(process) = client.process
            && let Some(state) = self.processes.get_mut(&process)
            && !state.ended
        {
            state.kill_at = Some(Instant::now() + ORPHAN_GRACE);
            self.agent.send(&ToAgent::Signal { process, signal: SIGHUP }, &[])?;
        }
        self.stop_if_last_out()
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

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
