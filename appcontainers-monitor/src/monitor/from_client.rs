//! What clients ask for.

use std::time::Duration;

use appcontainers::{
    ProcessName,
    life::{LifePlan, Script},
    process::Role,
};
use appcontainers_wire::{
    ProcessSpec,
    agent::{STDIN_WINDOW_BYTES, ToAgent},
    client::{FromClient, ToClient},
};

use super::{Action, Monitor, Phase, life::Step, processes::Request};

impl Monitor {
    /// Takes what clients have sent, and lets go of those that are gone.
    pub fn serve_clients(&mut self, actions: &mut Vec<Action>) -> anyhow::Result<()> {
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
            (FromClient::Run { spec, stop_after, token }, None) => self.run(id, spec, stop_after, token)?,
            (FromClient::Spawn { spec, name, restart, token }, _) => {
                match name.map(ProcessName::try_from).transpose() {
                    Ok(name) => {
                        let background = Request::new(Role::Background, Some(id), spec);
                        self.spawn_in_background(id, Request { name, restart, token: Some(token), ..background })?;
                    }
                    Err(error) => self.refuse(id, &error.to_string()),
                }
            }
            (FromClient::Claim { process }, None) => {
                if let Err(why) = self.claim(id, process) {
                    self.refuse(id, &why);
                }
            }
            (FromClient::SignalProcess { process, signal }, _) => match self.signal(process, signal)? {
                Ok(()) => self.tell(Some(id), &ToClient::Done),
                Err(why) => self.refuse(id, &why),
            },
            (FromClient::Stdin, Some(process)) => {
                if let Some(state) = self.processes.get_mut(&process) {
                    state.input_bytes = state.input_bytes.saturating_add(payload.len() as u64);
                }
                self.agent.send(&ToAgent::Stdin { process }, payload)?;
            }
            (FromClient::StdinClose, Some(process)) => self.agent.send(&ToAgent::StdinClose { process }, &[])?,
            (FromClient::Signal { signal }, Some(process)) => {
                self.agent.send(&ToAgent::Signal { process, signal }, &[])?;
            }
            (FromClient::Resize { size }, Some(process)) => self.agent.send(&ToAgent::Resize { process, size }, &[])?,
            (FromClient::Consumed { position, passed_bytes }, Some(process)) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.consumed = Some(position);
                }
                self.passed_on(process, passed_bytes)?;
            }
            (FromClient::Watch, None) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.watches = true;
                }
                self.stop_if_last_out()?;
            }
            (FromClient::Keep { startup }, _) => self.keep(id, startup, actions)?,
            (FromClient::Stop { grace_ms }, _) => {
                // What is frozen can't end.
                actions.extend([Action::Unpause(None), Action::Thaw]);
                self.stop(Duration::from_millis(grace_ms))?;
            }
            (FromClient::Pause, _) if matches!(self.phase, Phase::Stopping(_)) => {
                self.tell(Some(id), &ToClient::Stopping)
            }
            (FromClient::Pause, _) => actions.push(Action::Pause(id)),
            (FromClient::Unpause, _) => actions.push(Action::Unpause(Some(id))),
            (FromClient::LimitsChanged, _) => actions.push(Action::ReadLimits(id)),
            (FromClient::Freeze, _) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.freezes = true;
                }
                actions.push(Action::Freeze);
            }
            (FromClient::Thaw, _) => self.thaw(id, actions),
            (FromClient::ReadLife, _) => actions.push(Action::ReadLife(id)),
            (FromClient::HoldPorts, _) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.wants_ports = true;
                }
                actions.push(Action::HoldPorts);
            }
            (message, _) => self.refuse(id, &format!("this connection cannot do {message:?} now")),
        }
        Ok(())
    }

    fn run(&mut self, client: u64, spec: ProcessSpec, stop_after: bool, token: u64) -> anyhow::Result<()> {
        if let Phase::Stopping(_) = self.phase {
            self.tell(Some(client), &ToClient::Stopping);
            return Ok(());
        }
        let stdin = spec.stdin;
        self.until_last_out |= stop_after;
        let role = if spec.file_operation { Role::FileOperation } else { Role::Foreground };
        let (process, position) =
            self.spawn(Request { token: Some(token), ..Request::new(role, Some(client), spec) })?;
        if let Some(client) = self.clients.get_mut(&client) {
            client.process = Some(process);
            client.told = position;
            client.consumed = Some(position);
            client.link.send(&ToClient::Accepted { process, position }, &[]);
            if stdin {
                client.link.send(&ToClient::StdinCredit { bytes: STDIN_WINDOW_BYTES }, &[]);
            }
        }
        Ok(())
    }

    fn spawn_in_background(&mut self, client: u64, request: Request) -> anyhow::Result<()> {
        if let Phase::Stopping(_) = self.phase {
            self.tell(Some(client), &ToClient::Stopping);
            return Ok(());
        }
        let named = request.name.as_ref().and_then(|name| self.journal.table().living_with_name(name));
        if let Some(taken_by) = named.map(|record| record.id) {
            let why = format!("process {taken_by} has this name: choose another, or `appc kill` it first");
            self.refuse(client, &why);
            return Ok(());
        }
        let (process, position) = self.spawn(request)?;
        self.tell(Some(client), &ToClient::Accepted { process, position });
        Ok(())
    }

    fn keep(&mut self, client: u64, startup: Vec<ProcessSpec>, actions: &mut Vec<Action>) -> anyhow::Result<()> {
        let answer = match self.phase {
            Phase::Stopping(_) => ToClient::Stopping,
            Phase::Starting | Phase::Ready => ToClient::Kept { was_kept: !self.until_last_out },
        };
        if let ToClient::Kept { was_kept: false } = answer {
            self.until_last_out = false;
            actions.push(Action::RecordKept);
            self.look_after_health();
            self.startup = startup;
            self.steps.extend([Step::Script(Script::Start, None), Step::Startup]);
            self.go_on()?;
        }
        self.tell(Some(client), &answer);
        Ok(())
    }

    /// What is asked of the container's life was read, or why it could not be.
    pub(crate) fn life_read(&mut self, client: u64, read: anyhow::Result<LifePlan>) -> anyhow::Result<()> {
        match read {
            Ok(plan) => {
                self.set_life(plan, None, None)?;
                self.tell(Some(client), &ToClient::Done);
            }
            Err(error) => self.refuse(client, &format!("{error:#}")),
        }
        Ok(())
    }

    /// A freeze that the kernel has done.
    pub(crate) fn frozen(&mut self) {
        self.set_frozen(true);
        for client in self.clients.values_mut().filter(|client| client.freezes) {
            client.link.send(&ToClient::Frozen, &[]);
        }
    }

    /// Whether the container's ports are held now, or why not all are.
    pub(crate) fn ports_held(&mut self, held: Result<(), String>) {
        let answer = held.map_or_else(|message| ToClient::Failed { message }, |()| ToClient::Done);
        for client in self.clients.values_mut().filter(|client| client.wants_ports) {
            client.wants_ports = false;
            client.link.send(&answer, &[]);
        }
    }

    /// A freeze that the kernel has not done.
    pub(crate) fn not_frozen(&mut self, why: &str) {
        for client in self.clients.values_mut().filter(|client| client.freezes) {
            client.freezes = false;
            client.link.send(&ToClient::Failed { message: why.to_owned() }, &[]);
        }
    }

    fn thaw(&mut self, id: u64, actions: &mut Vec<Action>) {
        if let Some(client) = self.clients.get_mut(&id)
            && std::mem::take(&mut client.freezes)
            && !self.clients.values().any(|other| other.freezes)
        {
            match self.stillness.is_paused() {
                true => self.set_frozen(false),
                false => actions.push(Action::Thaw),
            }
        }
    }

    fn refuse(&mut self, id: u64, why: &str) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.link.send(&ToClient::Failed { message: why.to_owned() }, &[]);
        }
    }

    fn drop_client(&mut self, id: u64, actions: &mut Vec<Action>) -> anyhow::Result<()> {
        self.thaw(id, actions);
        let Some(client) = self.clients.remove(&id) else { return Ok(()) };
        if let Some(process) = client.process {
            self.orphaned(process)?;
        }
        self.stop_if_last_out()
    }
}
