//! The state of one running container, owned here alone.
//!
//! ```text
//! Starting --Hello--> Ready --Stop, or the last `run` ended--> Stopping --init's end--> Ended
//!     \__________________init's end, or no Hello in time________________________________/
//! ```
//! A container that nobody asked to keep goes when its last command has ended and no client is left that may still
//! ask for one. A client's requests wait in its socket until the container is ready. A foreground command belongs to its
//! client: when that is gone, the command gets HUP, and KILL a grace later. What a process is and how it ended stands in
//! the journal of processes; here is what only this monitor needs to know of it.
//!
//! A monitor may also adopt a container whose monitor has died. Then it is `Starting` until the agent has said of each
//! process how it stands.

mod announcements;
mod answers;
mod direct;
mod from_agent;
mod from_client;
mod health;
mod life;
mod output;
mod processes;
mod stillness;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use appcontainers::{
    life::LifePlan,
    output::LogWriter,
    process::{ProcessJournal, ProcessTable, Role},
};
use appcontainers_wire::{ExitStatus, ProcessId, ProcessSpec, Stream, agent::ToAgent, client::ToClient};

pub use self::announcements::Announcer;
use self::{
    health::Health,
    life::{RunningScript, Step},
    output::Acknowledgements,
    processes::Process,
    stillness::Stillness,
};
use crate::{agent::AgentLink, client_link::ClientLink};

/// Between TERM and KILL when the last `run` in a container has ended.
const LAST_OUT_GRACE: Duration = Duration::from_secs(10);

/// How much longer than the grace an agent may take to end.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// More than anybody waits for; times are added to it.
const LONGEST_GRACE: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// The init is killed at this time if it still lives.
    Stopping(Instant),
}

/// What the owner of the container's kernel objects is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Have all its processes stand still.
    Freeze,
    /// Have them go on.
    Thaw,
    /// Have them stand still until somebody says otherwise, and tell the client.
    Pause(u64),
    /// Have them go on that were paused, and tell the client, if there is one.
    Unpause(Option<u64>),
    /// Read the container's limits anew, and tell the client.
    ReadLimits(u64),
    /// Hold the ports that it publishes.
    HoldPorts,
    /// End it at once.
    KillInit,
    /// To keep for an adopter that somebody asked for this container to run on.
    RecordKept,
    /// Read what is asked of its life, for this client.
    ReadLife(u64),
}

/// How this monitor comes to its container.
#[derive(Debug)]
pub enum Beginning {
    /// It was started with these commands, which run before the container is ready.
    Startup(Vec<ProcessSpec>),
    /// It was started for the commands that its clients ask for.
    ForCommands,
    /// It was there already, and goes on without commands if somebody asked for that.
    Adoption {
        /// Whether somebody did.
        kept: bool,
    },
}

#[derive(Debug)]
struct Client {
    link: ClientLink,
    /// Its foreground command or file operation.
    process: Option<ProcessId>,
    /// How far it knows the log to go.
    told: u64,
    /// When it heard that.
    told_at: Instant,
    /// Up to where it has read the log.
    consumed: Option<u64>,
    freezes: bool,
    /// It waits until the ports are held.
    wants_ports: bool,
    /// It asks for nothing and does not keep the container.
    watches: bool,
}

/// All that is known of a running container, and what is to be done about what happens.
#[derive(Debug)]
pub struct Monitor {
    pub(crate) agent: AgentLink,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    processes: BTreeMap<ProcessId, Process>,
    journal: ProcessJournal,
    pub(crate) announcer: Announcer,
    log: LogWriter,
    acknowledgements: Acknowledgements,
    phase: Phase,
    /// Nobody asked for this container to run longer than the commands in it.
    until_last_out: bool,
    startup: Vec<ProcessSpec>,
    /// Startup commands of this start have this number or a higher one.
    first_of_start: Option<ProcessId>,
    plan: LifePlan,
    steps: VecDeque<Step>,
    script: Option<RunningScript>,
    /// It is unhealthy, or its startup commands have failed, and it is ended for that.
    is_ending: bool,
    health: Option<Health>,
    /// The number of the next process of its own, which is nobody else's.
    next_own: u32,
    /// Its own have had this number or a higher one.
    own_from: u32,
    init_pid: u32,
    /// Those that have ended since somebody asked.
    ends: Vec<(ProcessId, ExitStatus)>,
    /// The limit of open files with which commands are started.
    nofile: Option<u64>,
    stillness: Stillness,
}

impl Monitor {
    /// Nothing has happened yet. `init_pid` is what clients are told of; whom the agent's link lets in is not said by it.
    pub fn new(
        agent: AgentLink,
        log: LogWriter,
        journal: ProcessJournal,
        announcer: Announcer,
        init_pid: u32,
        beginning: Beginning,
    ) -> Self {
        let next_id = journal.table().next_id();
        let next_own = health::first_own();
        let mut monitor = Self {
            agent,
            clients: BTreeMap::new(),
            next_client: 0,
            processes: BTreeMap::new(),
            journal,
            announcer,
            log,
            acknowledgements: Acknowledgements::default(),
            phase: Phase::Starting,
            until_last_out: false,
            startup: Vec::new(),
            first_of_start: Some(next_id),
            plan: LifePlan::default(),
            steps: VecDeque::new(),
            script: None,
            is_ending: false,
            health: None,
            next_own,
            own_from: next_own,
            init_pid,
            ends: Vec::new(),
            nofile: None,
            stillness: Stillness::default(),
        };
        match beginning {
            Beginning::Startup(startup) => {
                monitor.startup = startup;
                monitor.steps.push_back(Step::Startup);
            }
            Beginning::ForCommands => monitor.until_last_out = true,
            Beginning::Adoption { kept } => {
                monitor.until_last_out = !kept;
                monitor.adopt_processes();
            }
        }
        monitor
    }

    /// Has one more client.
    pub fn add_client(&mut self, link: ClientLink) {
        let (process, consumed, told, told_at) = (None, None, 0, Instant::now());
        let client =
            Client { link, process, told, told_at, consumed, freezes: false, wants_ports: false, watches: false };
        let id = self.next_client;
        self.next_client += 1;
        self.clients.insert(id, client);
        if self.phase != Phase::Starting {
            self.send_ready(id);
        }
    }

    /// The links of all clients, to be read and flushed.
    pub fn client_links(&mut self) -> impl Iterator<Item = &mut ClientLink> {
        self.clients.values_mut().map(|client| &mut client.link)
    }

    /// Links with messages that their clients do not read; only those of clients that follow a command, if `followers`.
    pub(crate) fn blocked_links(&self, followers: bool) -> Vec<&ClientLink> {
        let clients = self.clients.values().filter(|client| client.process.is_some() || !followers);
        clients.map(|client| &client.link).filter(|link| link.is_blocked()).collect()
    }

    /// Whether the agent has said all that a start waits for.
    pub fn is_ready(&self) -> bool {
        self.phase != Phase::Starting
    }

    /// The processes that have ended since this was asked last.
    pub(crate) fn take_ends(&mut self) -> Vec<(ProcessId, ExitStatus)> {
        std::mem::take(&mut self.ends)
    }

    /// Commands are started with this limit of open files from now on.
    pub(crate) fn set_nofile(&mut self, nofile: Option<u64>) {
        self.nofile = nofile;
    }

    /// The processes as the journal has them.
    pub(crate) fn table(&self) -> &ProcessTable {
        self.journal.table()
    }

    /// Whether the agent has said hello.
    pub(crate) fn is_greeted(&self) -> bool {
        self.agent.is_open() || self.is_ready()
    }

    /// Whether the container is on its way down.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_))
    }

    /// When something is due, if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stop = match self.phase {
            // There is nobody yet to whom to say what is due, but a script.
            Phase::Starting => return self.script_deadline(),
            Phase::Ready => None,
            Phase::Stopping(until) => Some(until),
        };
        let moving = self.processes.values().filter(|_| !self.stands_still());
        let of_processes = moving.filter_map(Process::deadline);
        let of_output = [
            self.acknowledgements.retry_at(),
            self.acknowledgements.due_at(),
            self.script_deadline(),
            self.health_deadline(),
        ];
        of_processes.chain(stop).chain(of_output.into_iter().flatten()).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) -> anyhow::Result<()> {
        self.tick_script(now)?;
        if self.phase != Phase::Starting {
            if !self.stands_still() {
                self.tick_processes(now)?;
            }
            self.retry_output(now)?;
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

    fn check_ready(&mut self) -> anyhow::Result<()> {
        if self.phase == Phase::Starting && self.has_begun() && self.processes.values().all(Process::is_known) {
            self.phase = Phase::Ready;
            for id in self.clients.keys().copied().collect::<Vec<_>>() {
                self.send_ready(id);
            }
        }
        self.stop_if_last_out()
    }

    fn stop_if_last_out(&mut self) -> anyhow::Result<()> {
        // Whether it came first or later: a foreground command holds the container. Others do not.
        let holds =
            |process: &Process| matches!(process.role, Role::Foreground | Role::FileOperation) && !process.ended;
        let may_ask = |client: &Client| client.process.is_none() && !client.watches;
        if self.until_last_out
            && !self.stillness.is_paused()
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
                    client.link.send(&ToClient::Stopping, &[]);
                }
            }
        }
        if self.stop_by_script(grace)? {
            return Ok(());
        }
        self.steps.clear();
        self.phase = Phase::Stopping(until);
        self.shut_down_by(until)
    }

    /// Has the agent end everything, so that it is over at this time.
    fn shut_down_by(&mut self, until: Instant) -> anyhow::Result<()> {
        let grace = until.saturating_duration_since(Instant::now()).saturating_sub(STOP_MARGIN);
        self.agent.send(&ToAgent::Shutdown { grace_ms: grace.as_millis() as u64 }, &[])
    }

    fn tell_owner(&mut self, process: ProcessId, message: &ToClient) {
        let owner = self.processes.get(&process).and_then(|process| process.client);
        self.tell(owner, message);
    }

    fn tell(&mut self, owner: Option<u64>, message: &ToClient) {
        if let Some(client) = owner.and_then(|id| self.clients.get_mut(&id)) {
            client.link.send(message, &[]);
        }
    }

    /// The container can't go on and is ended: that stays known.
    pub(crate) fn note_failure(&mut self, why: &str) {
        self.announce();
        self.announcer.fail(why);
    }

    /// The start failed, or the container can't go on: says so to every client.
    pub(crate) fn fail(&mut self, why: &str) {
        for client in self.clients.values_mut() {
            client.link.send(&ToClient::Failed { message: why.to_owned() }, &[]);
        }
    }

    /// The container's init is gone: says so to every client.
    pub(crate) fn stopped(&mut self) {
        let position = self.log.position();
        for client in self.clients.values_mut() {
            if client.process.is_some() {
                client.link.send(&ToClient::Logged { position }, &[]);
            }
            client.link.send(&ToClient::Stopped, &[]);
        }
        self.announce();
        self.announcer.publish(|publisher| publisher.died());
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
