//! What clients ask for.

use std::time::{Duration, Instant};

use appcontainers_wire::{
    ProcessSpec,
    agent::{STDIN_WINDOW_BYTES, ToAgent},
    client::{FromClient, ToClient},
};

use super::{Action, Monitor, Phase};

/// Between HUP and KILL for a command whose client is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

const SIGHUP: u8 = 1;

impl Monitor {
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
            (FromClient::Consumed { position, .. }, _) => {
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
}
