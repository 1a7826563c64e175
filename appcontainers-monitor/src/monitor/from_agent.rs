//! What the agent says.

use anyhow::bail;
use appcontainers::output::RecordHeader;
use appcontainers_wire::{ProcessId, WIRE_VERSION, agent::FromAgent, client::ToClient};

use super::{Monitor, Phase, health::is_own};
use crate::agent::{Inbox, quoted};

impl Monitor {
    /// Hears what the agent has to say by now; whether there may be more at once. An error ends the container's session: its
    /// agent can't be listened to.
    pub fn hear(&mut self, inbox: &mut Inbox) -> anyhow::Result<bool> {
        let more = self.agent.receive(inbox)?;
        while let Some((message, payload)) = inbox.take()? {
            self.take_from_agent(message, payload)?;
        }
        Ok(more)
    }

    fn take_from_agent(&mut self, message: FromAgent, payload: &[u8]) -> anyhow::Result<()> {
        match message {
            FromAgent::Hello { wire, version } => self.welcome(wire, &version),
            // What libzmq had of the connection before: it comes again.
            _ if !self.agent.is_open() => Ok(()),
            message if process_of(&message).is_some_and(is_own) => self.take_of_check(&message, payload),
            FromAgent::Started { process, pid, input_bytes, taken_bytes } => {
                self.started(process, pid, input_bytes, taken_bytes)
            }
            FromAgent::SpawnFailed { process, failure } => self.spawn_failed(process, failure),
            FromAgent::Output { process, stream, offset, time_ns } => {
                let length = payload.len() as u32;
                self.take_output(RecordHeader { process, stream, offset, time_ns, length }, payload)
            }
            FromAgent::StdinCredit { process, bytes } => {
                self.give_credit(process, bytes);
                Ok(())
            }
            FromAgent::Exited { process, status } => self.exited(process, status),
        }
    }

    fn welcome(&mut self, wire: u32, version: &str) -> anyhow::Result<()> {
        if wire != WIRE_VERSION {
            let version = quoted(version);
            bail!(
                "the container's agent ({version}) speaks version {wire} of the wire and this monitor {WIRE_VERSION}; \
                 restart the container"
            );
        }
        self.agent.open();
        self.send_welcome()?;
        // What was said to the agent last may have been lost with its connection.
        self.spawn_again()?;
        self.ask_check_again()?;
        self.go_on()?;
        if let Phase::Stopping(until) = self.phase
            && !self.is_about_to_shut_down()
        {
            self.shut_down_by(until)?;
        }
        self.check_ready()
    }

    pub(super) fn send_ready(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.link.send(&ToClient::Ready { wire: WIRE_VERSION, init_pid: self.init_pid }, &[]);
        }
    }

    /// The agent gives credit back for input that it got, not more.
    pub(super) fn give_credit(&mut self, process: ProcessId, bytes: u64) {
        let Some(state) = self.processes.get_mut(&process) else { return };
        let bytes = bytes.min(state.input_bytes - state.taken_bytes);
        if bytes > 0 {
            state.taken_bytes += bytes;
            self.tell_owner(process, &ToClient::StdinCredit { bytes });
        }
    }
}

/// Whose a message is.
fn process_of(message: &FromAgent) -> Option<ProcessId> {
    match message {
        FromAgent::Hello { .. } => None,
        FromAgent::Started { process, .. }
        | FromAgent::SpawnFailed { process, .. }
        | FromAgent::Output { process, .. }
        | FromAgent::StdinCredit { process, .. }
        | FromAgent::Exited { process, .. } => Some(*process),
    }
}
