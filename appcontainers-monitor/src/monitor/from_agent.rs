//! What the agent says: commands that start and end, and their output.

use anyhow::bail;
use appcontainers::output::RecordHeader;
use appcontainers_wire::{
    ExitStatus, ProcessId, ProcessSpec, SpawnFailure, Stream, WIRE_VERSION,
    agent::{FromAgent, StreamOffset, ToAgent},
    client::ToClient,
};

use super::{Monitor, Phase, Process};

/// How many processes that have ended are remembered: children of theirs may write on.
const MOST_ENDED: usize = 1024;

impl Monitor {
    pub(crate) fn take_from_agent(&mut self, message: FromAgent, payload: &[u8]) -> anyhow::Result<()> {
        match message {
            FromAgent::Hello { wire, version } => return self.welcome(wire, &version),
            FromAgent::Started { process, pid, .. } => {
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

    pub(super) fn send_ready(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.link.send(&ToClient::Ready { wire: WIRE_VERSION, init_pid: self.init_pid });
        }
    }

    pub(super) fn spawn(&mut self, client: Option<u64>, spec: ProcessSpec) -> anyhow::Result<ProcessId> {
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
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}
