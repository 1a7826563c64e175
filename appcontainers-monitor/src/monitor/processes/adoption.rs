//! What this monitor takes over from one that has died: the processes of the journal, and the clients that come back for
//! theirs.

use std::time::{Duration, Instant};

use appcontainers::process::{End, Role};
use appcontainers_wire::{ProcessId, agent::ToAgent, client::ToClient};

use super::{Process, RESTART_PAUSE};
use crate::monitor::Monitor;

/// How long a command whose monitor has died waits for its client to come back.
const CLAIM_PATIENCE: Duration = Duration::from_secs(10);

impl Monitor {
    /// Takes over the processes that the journal of processes has of this start.
    pub(in crate::monitor) fn adopt_processes(&mut self) {
        let now = Instant::now();
        let table = self.journal.table();
        for record in table.records() {
            let mut process = Process { is_adopted: true, ..Process::new(record.role, None) };
            match record.role {
                _ if record.ended.is_some() => {
                    if !table.awaits_restart(record) {
                        continue;
                    }
                    (process.ended, process.restart_at) = (true, Some(now + RESTART_PAUSE.0));
                }
                Role::Foreground => process.hang_up_at = Some(now + CLAIM_PATIENCE),
                // Its client has no way to go on.
                Role::FileOperation => process.kill_at = Some(now),
                Role::Background | Role::Startup | Role::Script => {}
            }
            self.processes.insert(record.id, process);
        }
        self.own_from = crate::monitor::health::OWN_PROCESSES;
        // Those that ended before are not counted.
        let alive = table.records().filter(|record| record.role == Role::Startup && record.ended.is_none());
        self.first_of_start = alive.map(|record| record.id).min();
    }

    /// Asks for those again of whose start the agent may not have heard: to it, the same twice is once.
    pub(in crate::monitor) fn spawn_again(&mut self) -> anyhow::Result<()> {
        let unheard = self.processes.iter().filter(|(_, process)| !process.is_known()).map(|(id, _)| *id);
        for process in unheard.collect::<Vec<_>>() {
            let record = self.journal.table().get(process).filter(|record| record.pid.is_none());
            if let Some(spec) = record.map(|record| self.limited(&record.spec)) {
                self.agent.send(&ToAgent::Spawn { process, spec }, &[])?;
            }
        }
        Ok(())
    }

    /// Gives a foreground command, whose monitor has died, to its client that has come back.
    pub(in crate::monitor) fn claim(&mut self, client: u64, process: ProcessId) -> Result<(), String> {
        let record = self.journal.table().get(process).filter(|record| record.role == Role::Foreground);
        let record = record.ok_or_else(|| format!("there is no foreground command {process}"))?;
        let (position, ended) = (record.position, record.ended.clone());
        let state = self.processes.get_mut(&process);
        if state.as_ref().is_some_and(|state| state.client.is_some()) {
            return Err(format!("process {process} has a client"));
        }
        let (mut input_bytes, mut taken_bytes) = (u64::MAX, u64::MAX);
        if let Some(state) = state {
            (state.client, state.hang_up_at, state.kill_at) = (Some(client), None, None);
            (input_bytes, taken_bytes) = (state.input_bytes, state.taken_bytes);
        }
        let Some(client) = self.clients.get_mut(&client) else { return Ok(()) };
        (client.process, client.told, client.consumed) = (Some(process), position, Some(position));
        client.link.send(&ToClient::Claimed { position, input_bytes, taken_bytes }, &[]);
        match ended.map(|ended| (ended.end, ended.position)) {
            Some((End::Exited(status), position)) => client.link.send(&ToClient::Exited { status, position }, &[]),
            Some((End::NotStarted(failure), _)) => client.link.send(&ToClient::SpawnFailed { failure }, &[]),
            Some((End::Lost, _)) => client.link.send(&ToClient::Stopped, &[]),
            None => {}
        }
        Ok(())
    }
}
