//! Output on its way from the agent to the log, or to the client of a file operation, and how far it is acknowledged.
//!
//! A foreground command whose client reads slower than it prints gets no further than [`MOST_UNREAD_BYTES`] ahead of it:
//! then it waits on its pipe, and it alone. Where there is no room for the log, nothing is acknowledged and the agent is
//! asked to send it again a little later, so that all wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use appcontainers::{
    output::{NeededBy, RecordHeader},
    process::Role,
};
use appcontainers_wire::{
    ProcessId, Stream, WIRE_VERSION,
    agent::{OUTPUT_WINDOW_BYTES, StreamOffset, ToAgent},
    client::ToClient,
};

use super::{Monitor, Phase};

/// How far a foreground command's output may be ahead of what its client has passed on.
const MOST_UNREAD_BYTES: u64 = 16 * 1024 * 1024;

/// Before the agent is asked to send again what there was no room for.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// An acknowledgement for each piece would cost as much as the piece: this much of a stream goes with one, well within the
/// agent's window,
const ACKNOWLEDGED_STEP_BYTES: u64 = OUTPUT_WINDOW_BYTES / 4;

/// or what there is after this pause.
const ACKNOWLEDGED_PAUSE: Duration = Duration::from_millis(5);

/// How often a client hears at most how far the log goes. The first word after a while is said at once.
const LOGGED_PAUSE: Duration = Duration::from_millis(1);

/// What the agent has heard of its output, and what it has yet to hear.
#[derive(Debug, Default)]
pub(super) struct Acknowledgements {
    /// Up to where each stream was acknowledged: the agent may send so much more than that.
    told: BTreeMap<(ProcessId, Stream), u64>,
    /// Up to where each stream is in the log. A later offset replaces an earlier one that was not told.
    held: BTreeMap<(ProcessId, Stream), u64>,
    /// There was no room: until then, nothing is taken.
    retry_at: Option<Instant>,
    /// Of these streams something was not taken: what was on its way behind that comes before it comes again.
    missed: BTreeSet<(ProcessId, Stream)>,
    /// When there is something to say that is not worth saying yet.
    due_at: Option<Instant>,
}

impl Acknowledgements {
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether output up to `end` is within the agent's window, `known` of which was there when its first came.
    fn allow(&mut self, stream: (ProcessId, Stream), known: u64, end: u64) -> bool {
        end.saturating_sub(*self.told.entry(stream).or_insert(known)) <= OUTPUT_WINDOW_BYTES
    }

    fn tell(&mut self, stream: (ProcessId, Stream), offset: u64) {
        self.told.insert(stream, offset);
    }

    fn forget(&mut self, process: ProcessId) {
        self.told.retain(|(known, _), _| *known != process);
        self.held.retain(|(known, _), _| *known != process);
        self.missed.retain(|(known, _)| *known != process);
    }
}

impl Monitor {
    /// Greets an agent: from which offsets on it is to send.
    pub(super) fn send_welcome(&mut self) -> anyhow::Result<()> {
        let offsets = self.log.offsets();
        let streams = self.processes.iter().filter(|(_, state)| state.direct.is_none()).flat_map(|(process, _)| {
            let process = *process;
            [Stream::Stdout, Stream::Stderr].into_iter().filter_map(move |stream| {
                let offset = offsets.get(process, stream)?;
                Some(StreamOffset { process, stream, offset })
            })
        });
        let streams: Vec<StreamOffset> = streams.collect();
        for StreamOffset { process, stream, offset } in &streams {
            self.acknowledgements.tell((*process, *stream), *offset);
        }
        self.agent.send(&ToAgent::Welcome { wire: WIRE_VERSION, streams }, &[])
    }

    /// Nothing more comes of a process.
    pub(super) fn forget_output(&mut self, process: ProcessId) {
        self.log.forget(process);
        self.acknowledgements.forget(process);
    }

    pub(super) fn take_output(&mut self, header: RecordHeader, payload: &[u8]) -> anyhow::Result<()> {
        let RecordHeader { process, stream, offset, .. } = header;
        let end = offset.checked_add(payload.len() as u64);
        let end = end.with_context(|| format!("the agent sent output of process {process} at byte {offset}"))?;
        if process.0 == 0 || process >= self.journal.table().next_id() {
            bail!("the agent sent output of process {process}, which was never started");
        }
        if let Some(state) = self.processes.get_mut(&process)
            && let Some(direct) = &mut state.direct
        {
            let Some(client) = state.client.and_then(|id| self.clients.get_mut(&id)) else {
                // Nobody wants it: the process goes on to its end.
                return self.agent.send(&ToAgent::Ack(StreamOffset { process, stream, offset: end }), &[]);
            };
            let Some(news) = direct.news(stream, offset, payload) else {
                bail!("the agent left out output of process {process} before byte {offset}");
            };
            ensure!(direct.is_within_window(), "the agent sent more of process {process} than it was allowed to");
            if !news.is_empty() {
                client.link.send(&ToClient::Output { stream }, news);
            }
            return Ok(());
        }
        if self.acknowledgements.retry_at.is_some() {
            self.acknowledgements.missed.insert((process, stream));
            return Ok(());
        }
        // Of a process that is forgotten: what was acknowledged does not come again.
        let known = self.log.offsets().get(process, stream);
        let known = known.unwrap_or(if self.processes.contains_key(&process) { 0 } else { offset });
        if offset > known {
            if self.acknowledgements.missed.contains(&(process, stream)) {
                return Ok(());
            }
            bail!("the agent left out bytes {known} to {offset} of process {process}");
        }
        let is_allowed = self.acknowledgements.allow((process, stream), known, end);
        ensure!(is_allowed, "the agent sent more of process {process} than it was allowed to, up to byte {end}");
        self.acknowledgements.missed.remove(&(process, stream));
        // What comes again after a reconnect may begin in the middle of what is there.
        let new = &payload[usize::try_from(known - offset)?.min(payload.len())..];
        if !new.is_empty() {
            let record = RecordHeader { offset: known, length: new.len() as u32, ..header };
            match self.log.append(&record, new) {
                Ok(()) => {
                    let position = self.log.position() - record.record_bytes();
                    self.announcer.publish(|publisher| publisher.output(&record, position, new));
                }
                Err(error) if error.is_full() => {
                    tracing::warn!("output waits: {:#}", anyhow::Error::new(error));
                    self.acknowledgements.retry_at = Some(Instant::now() + FULL_PAUSE);
                    self.acknowledgements.missed.insert((process, stream));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.acknowledgements.held.insert((process, stream), known.saturating_add(new.len() as u64));
        Ok(())
    }

    /// Asks for what there was no room for.
    pub(super) fn retry_output(&mut self, now: Instant) -> anyhow::Result<()> {
        match self.acknowledgements.retry_at.take_if(|at| *at <= now) {
            Some(_) => self.send_welcome(),
            None => Ok(()),
        }
    }

    /// A client has passed on so much.
    pub(super) fn passed_on(&mut self, process: ProcessId, bytes: u64) -> anyhow::Result<()> {
        if let Some(state) = self.processes.get_mut(&process) {
            state.passed_bytes = bytes;
        }
        self.pass_direct_on(process, bytes)
    }

    /// The client of a file operation has passed on so much of its output: the agent may forget that.
    pub(super) fn pass_direct_on(&mut self, process: ProcessId, bytes: u64) -> anyhow::Result<()> {
        let direct = self.processes.get_mut(&process).and_then(|state| state.direct.as_mut());
        for (stream, offset) in direct.map(|direct| direct.passed_on(bytes)).unwrap_or_default() {
            self.agent.send(&ToAgent::Ack(StreamOffset { process, stream, offset }), &[])?;
        }
        Ok(())
    }

    fn is_far_ahead(&self, process: ProcessId) -> bool {
        let Some(state) = self.processes.get(&process) else { return false };
        // What has ended, or is about to, can't be held up: the agent ends when all is acknowledged.
        let is_ending = state.ended || matches!(self.phase, Phase::Stopping(_));
        if state.role != Role::Foreground || state.client.is_none() || is_ending {
            return false;
        }
        let logged =
            [Stream::Stdout, Stream::Stderr].map(|stream| self.log.offsets().get(process, stream).unwrap_or(0));
        logged.into_iter().fold(0, u64::saturating_add).saturating_sub(state.passed_bytes) > MOST_UNREAD_BYTES
    }

    /// Lets the agent go on as far as foreground readers keep up, and tells all how far the log goes.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let position = self.log.position();
        let is_due = self.acknowledgements.due_at.take_if(|at| *at <= now).is_some();
        // While the agent does not take them, later acknowledgements replace earlier ones here.
        if !self.agent.is_blocked() {
            for (stream, offset) in std::mem::take(&mut self.acknowledgements.held) {
                let told = self.acknowledgements.told.get(&stream).copied().unwrap_or(0);
                if self.is_far_ahead(stream.0) {
                    self.acknowledgements.held.insert(stream, offset);
                } else if is_due || offset - told.min(offset) >= ACKNOWLEDGED_STEP_BYTES {
                    self.acknowledge(stream, offset)?;
                } else {
                    self.acknowledgements.held.insert(stream, offset);
                    self.acknowledgements.due_at.get_or_insert(now + ACKNOWLEDGED_PAUSE);
                }
            }
        }
        let needed = self.clients.values().filter_map(|client| {
            client.process.zip(client.consumed).map(|(process, position)| NeededBy { process, position })
        });
        match self.log.drop_oldest(&needed.collect::<Vec<_>>()) {
            Err(error) if error.is_full() => tracing::warn!("{:#}", anyhow::Error::new(error)),
            dropped => dropped?,
        }
        for client in self.clients.values_mut() {
            if client.process.is_some() && client.told < position && !client.link.is_blocked() {
                let due_at = client.told_at + LOGGED_PAUSE;
                if due_at <= now {
                    (client.told, client.told_at) = (position, now);
                    client.link.send(&ToClient::Logged { position }, &[]);
                } else {
                    let at = self.acknowledgements.due_at.get_or_insert(due_at);
                    *at = due_at.min(*at);
                }
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, (process, stream): (ProcessId, Stream), offset: u64) -> anyhow::Result<()> {
        self.acknowledgements.told.insert((process, stream), offset);
        self.agent.send(&ToAgent::Ack(StreamOffset { process, stream, offset }), &[])
    }

    /// Acknowledges all that there is of a process that has ended.
    pub(super) fn acknowledge_all(&mut self, process: ProcessId) -> anyhow::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(offset) = self.acknowledgements.held.remove(&(process, stream)) {
                self.acknowledge((process, stream), offset)?;
            }
        }
        // All that its client is to get of a file operation is on its way there.
        self.pass_direct_on(process, u64::MAX)
    }
}
