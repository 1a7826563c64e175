//! The container's processes as this monitor has them: their starts, their ends, and signals to them. What is due at a time
//! is in `deadlines`, what comes from a monitor before this one in `adoption`.

mod adoption;
mod deadlines;

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use appcontainers::{
    ProcessName,
    process::{End, Entry, Role},
    runtime::nofile_of_command,
};
use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, RestartPolicy, SpawnFailure,
    agent::{STDIN_WINDOW_BYTES, ToAgent},
    client::ToClient,
};
use jiff::Timestamp;

use super::{Monitor, Phase, direct::DirectOutput};
use crate::agent::quoted;

/// Before a process is started again, the first time and at most.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// How many processes that have ended are remembered: children of theirs may write on.
const MOST_ENDED: usize = 1024;

const SIGKILL: u8 = 9;

/// The signals that ask for an end: 2 INT, 3 QUIT, 9 KILL, 15 TERM. HUP often asks for something else.
const ENDING_SIGNALS: [u8; 4] = [2, 3, SIGKILL, 15];

/// What a monitor knows of a process, beside what stands in the journal.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    /// Whom its news are for.
    pub(super) client: Option<u64>,
    /// A monitor before this one had it started, and the agent has yet to say what came of that.
    is_adopted: bool,
    /// The agent has said to this monitor how its start went.
    heard: bool,
    pub(super) ended: bool,
    /// Output that goes to its client and not to the log.
    pub(super) direct: Option<DirectOutput>,
    /// How much of its output its client has passed on.
    pub(super) passed_bytes: u64,
    /// Standard input: what the agent has got, and what of that the process has taken.
    pub(super) input_bytes: u64,
    pub(super) taken_bytes: u64,
    /// When it is hung up and when it is killed, if nobody comes before.
    hang_up_at: Option<Instant>,
    kill_at: Option<Instant>,
    started: Instant,
    restart_pause: Duration,
    restart_at: Option<Instant>,
}

impl Process {
    fn new(role: Role, client: Option<u64>) -> Self {
        Self {
            role,
            client,
            is_adopted: false,
            heard: false,
            ended: false,
            direct: (role == Role::FileOperation).then(DirectOutput::default),
            passed_bytes: 0,
            input_bytes: 0,
            taken_bytes: 0,
            hang_up_at: None,
            kill_at: None,
            started: Instant::now(),
            restart_pause: RESTART_PAUSE.0,
            restart_at: None,
        }
    }

    /// Whether this monitor knows how its start went.
    pub(super) fn is_known(&self) -> bool {
        self.heard || self.ended
    }

    /// All that is due comes so much later.
    pub(super) fn put_off(&mut self, passed: Duration) {
        for at in [&mut self.hang_up_at, &mut self.kill_at, &mut self.restart_at].into_iter().flatten() {
            *at += passed;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.hang_up_at, self.kill_at, self.restart_at].into_iter().flatten().min()
    }
}

/// What is asked for.
pub(super) struct Request {
    pub(super) role: Role,
    pub(super) client: Option<u64>,
    pub(super) name: Option<ProcessName>,
    pub(super) restart: RestartPolicy,
    pub(super) instead_of: Option<ProcessId>,
    pub(super) spec: ProcessSpec,
    pub(super) token: Option<u64>,
}

impl Request {
    /// A process that is nobody's but its role's.
    pub(super) fn new(role: Role, client: Option<u64>, spec: ProcessSpec) -> Self {
        Self { role, client, name: None, restart: RestartPolicy::No, instead_of: None, spec, token: None }
    }
}

impl Monitor {
    /// Has the agent start a process. Gives its number, and the position of the log where its output begins at the earliest.
    pub(super) fn spawn(&mut self, request: Request) -> anyhow::Result<(ProcessId, u64)> {
        let Request { role, client, name, restart, instead_of, spec, token } = request;
        let (process, position) = (self.journal.table().next_id(), self.log.position());
        let (time, sent) = (Timestamp::now(), self.limited(&spec));
        self.note(Entry::Spawned { process, time, role, name, restart, instead_of, spec, token, position });
        self.processes.insert(process, Process::new(role, client));
        self.agent.send(&ToAgent::Spawn { process, spec: sent }, &[])?;
        Ok((process, position))
    }

    /// As the agent gets it: with the container's limit of open files before the command's own, which then can only be lower.
    fn limited(&self, spec: &ProcessSpec) -> ProcessSpec {
        let limit = nofile_of_command(self.nofile).filter(|_| !spec.file_operation);
        let rlimits = limit.into_iter().chain(spec.rlimits.iter().copied()).collect();
        ProcessSpec { rlimits, ..spec.clone() }
    }

    /// Writes to the journal of processes. That there is no room for it does not end a container.
    fn note(&mut self, entry: Entry) {
        if let Err(error) = self.journal.append(entry) {
            tracing::warn!("{:#}", anyhow::Error::new(error));
        }
    }

    pub(super) fn started(
        &mut self,
        process: ProcessId,
        pid: u32,
        input_bytes: u64,
        taken_bytes: u64,
    ) -> anyhow::Result<()> {
        let Some(state) = self.processes.get_mut(&process) else { return Ok(()) };
        if std::mem::take(&mut state.is_adopted) {
            let untaken = input_bytes.saturating_sub(taken_bytes);
            // It would be given back as credit, and the client would send without a limit.
            ensure!(untaken <= STDIN_WINDOW_BYTES, "the agent holds {untaken} bytes of input of process {process}");
            (state.input_bytes, state.taken_bytes) = (input_bytes.max(taken_bytes), taken_bytes);
        }
        let (was_heard, newly_taken) =
            (std::mem::replace(&mut state.heard, true), taken_bytes.saturating_sub(state.taken_bytes));
        self.give_credit(process, newly_taken);
        if was_heard {
            return Ok(());
        }
        let is_news = self.journal.table().get(process).is_some_and(|record| record.pid.is_none());
        if is_news {
            self.note(Entry::Started { process, pid });
            self.happened("process-start", process, None, []);
            self.tell_owner(process, &ToClient::Started { pid });
        }
        self.check_ready()
    }

    pub(super) fn spawn_failed(&mut self, process: ProcessId, failure: SpawnFailure) -> anyhow::Result<()> {
        if self.phase == Phase::Starting
            && self.processes.get(&process).is_some_and(|state| state.role == Role::Startup && !state.is_adopted)
        {
            bail!("a startup command cannot be run: {}", quoted(&failure.to_string()));
        }
        let Some(state) = self.processes.get(&process).filter(|state| !state.ended) else {
            return self.agent.send(&ToAgent::Noted { process }, &[]);
        };
        ensure!(!state.heard, "the agent says that process {process}, which runs, was not started");
        let client = state.client;
        self.processes.remove(&process);
        let (time, position) = (Timestamp::now(), self.log.position());
        self.note(Entry::Ended { process, time, end: End::NotStarted(failure.clone()), position });
        self.happened("process-exit", process, None, [("failure", failure.to_string().into())]);
        self.forget_output(process);
        self.agent.send(&ToAgent::Noted { process }, &[])?;
        self.life_after(process, &End::NotStarted(failure.clone()))?;
        self.check_ready()?;
        self.tell(client, &ToClient::SpawnFailed { failure });
        Ok(())
    }

    pub(super) fn exited(&mut self, process: ProcessId, status: ExitStatus) -> anyhow::Result<()> {
        // Output before it was refused: it all comes again.
        if self.acknowledgements.retry_at().is_some() {
            return Ok(());
        }
        let Some(state) = self.processes.get_mut(&process) else {
            return self.agent.send(&ToAgent::Noted { process }, &[]);
        };
        (state.kill_at, state.hang_up_at) = (None, None);
        // Children may hold its pipes and write on, so the streams stay known for a while.
        if !std::mem::replace(&mut state.ended, true) {
            self.ends.push((process, status));
            let (time, position) = (Timestamp::now(), self.log.position());
            let end = End::Exited(status);
            self.note(Entry::Ended { process, time, end, position });
            self.acknowledge_all(process)?;
            let restarts = self.journal.table().get(process).map_or(0, |record| record.restarts);
            match restarts {
                0 => self.happened("process-exit", process, Some(status), []),
                _ => self.happened("process-exit", process, Some(status), [("restarts", restarts.into())]),
            }
            self.life_after(process, &End::Exited(status))?;
            // That it was the last one out comes first: then its client waits for the container's end.
            self.check_ready()?;
            self.tell_owner(process, &ToClient::Exited { status, position });
            self.plan_restart(process);
            self.forget_oldest();
        }
        self.agent.send(&ToAgent::Noted { process }, &[])
    }

    /// Forgets those that ended first, when they are many.
    fn forget_oldest(&mut self) {
        let ended = self.processes.iter().filter(|(_, process)| process.ended && process.restart_at.is_none());
        let ended: Vec<_> = ended.map(|(id, _)| *id).collect();
        for id in &ended[..ended.len().saturating_sub(MOST_ENDED)] {
            self.processes.remove(id);
            self.forget_output(*id);
        }
    }

    /// Sends a signal that somebody asked for; why it can't be sent, if so.
    pub(super) fn signal(&mut self, process: ProcessId, signal: u8) -> anyhow::Result<Result<(), String>> {
        let table = self.journal.table();
        let Some(record) = table.get(process) else { return Ok(Err(format!("there is no process {process}"))) };
        let (awaits_restart, has_ended) = (table.awaits_restart(record), record.ended.is_some());
        if ENDING_SIGNALS.contains(&signal) && record.restart != RestartPolicy::No {
            self.note(Entry::EndWanted { process });
        }
        if has_ended && awaits_restart {
            if let Some(state) = self.processes.get_mut(&process) {
                state.restart_at = None;
            }
            return Ok(Ok(()));
        }
        if has_ended {
            return Ok(Err(format!("process {process} has ended")));
        }
        self.agent.send(&ToAgent::Signal { process, signal }, &[])?;
        self.happened("process-kill", process, None, [("signal", signal.into())]);
        Ok(Ok(()))
    }
}
