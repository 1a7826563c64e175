//! What happens to processes, told to the journal of events and to subscribers: at the end of a turn, so that nobody
//! waits for it.

use appcontainers::{
    ContainerName, Paths, ProcessName,
    event::{self, Event, EventError, NewEvent},
    life::{HealthReport, HealthStatus},
    process::Role,
};
use appcontainers_wire::{ExitStatus, ProcessId};
use serde_json::{Map, Value};

use super::Monitor;
use crate::publisher::Publisher;

/// What happened and has to be told yet, and where.
#[derive(Debug)]
pub struct Announcer {
    paths: Paths,
    container: ContainerName,
    /// None where nothing is published.
    pub(crate) publisher: Option<Publisher>,
    /// That the container was started, as the journal has it.
    started: Option<Event>,
    waiting: Vec<Happened>,
}

/// What happened to a process.
#[derive(Debug)]
struct Happened {
    kind: &'static str,
    process: ProcessId,
    name: Option<ProcessName>,
    status: Option<ExitStatus>,
    details: Map<String, Value>,
}

impl Announcer {
    pub(crate) fn new(
        paths: Paths,
        container: ContainerName,
        publisher: Option<Publisher>,
        started: Option<Event>,
    ) -> Self {
        Self { paths, container, publisher, started, waiting: Vec::new() }
    }

    /// Where nothing is published: what happens is in the journal of events alone.
    pub fn unpublished(paths: Paths, container: ContainerName) -> Self {
        Self::new(paths, container, None, None)
    }

    pub(super) fn container(&self) -> &ContainerName {
        &self.container
    }

    /// Publishes, or passes it over: that is no reason to end a container.
    pub(super) fn publish(&mut self, publish: impl FnOnce(&mut Publisher) -> anyhow::Result<()>) {
        if let Some(publisher) = &mut self.publisher
            && let Err(error) = publish(publisher)
        {
            tracing::warn!("cannot publish: {error:#}");
        }
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Writes what was found of the container's health where others read it; none if nobody looks at it any more.
    pub(super) fn store_health(&self, report: Option<&HealthReport>) {
        let stored = match report {
            Some(report) => report.store(&self.paths, &self.container),
            None => HealthReport::remove(&self.paths, &self.container),
        };
        if let Err(error) = stored {
            tracing::warn!("{:#}", anyhow::Error::new(error));
        }
    }

    /// Tells that the container's health has changed.
    pub(super) fn health(&mut self, report: &HealthReport) {
        let said = report.said.as_ref().filter(|_| report.status == HealthStatus::Unhealthy);
        let status = ("status".to_owned(), report.status.as_str().into());
        let details = [Some(status), said.map(|said| ("said".to_owned(), said.as_str().into()))];
        self.tell_all("health", details.into_iter().flatten().collect());
    }

    /// Tells that the container can't go on.
    pub(super) fn fail(&mut self, why: &str) {
        self.tell("fail", ("error", why.into()));
    }

    /// Tells that the kernel has ended processes because there was no memory left for them: `process` if it is one of ours.
    pub(crate) fn out_of_memory(
        &mut self,
        process: Option<(ProcessId, Option<ProcessName>)>,
        details: Map<String, Value>,
    ) {
        let (process, name) = process.map_or((None, None), |(process, name)| (Some(process), name));
        let name = name.as_ref().map(ProcessName::as_str);
        let event = NewEvent::new(&self.container, "oom");
        self.append(event::append(&self.paths, &NewEvent { process, name, details, ..event }));
    }

    fn tell(&mut self, kind: &'static str, (name, detail): (&str, Value)) {
        self.tell_all(kind, Map::from_iter([(name.to_owned(), detail)]));
    }

    fn tell_all(&mut self, kind: &'static str, details: Map<String, Value>) {
        self.append(event::append(&self.paths, &NewEvent { details, ..NewEvent::new(&self.container, kind) }));
    }

    fn append(&mut self, appended: Result<Event, EventError>) {
        match appended {
            Ok(event) => self.publish_event(&event),
            Err(error) => tracing::warn!("an event was not written: {:#}", anyhow::Error::new(error)),
        }
    }

    fn publish_event(&mut self, event: &Event) {
        self.publish(|publisher| publisher.event(event));
    }
}

impl Monitor {
    /// Notes what happened to a process. Operations on files are nobody's processes.
    pub(super) fn happened<const DETAILS: usize>(
        &mut self,
        kind: &'static str,
        process: ProcessId,
        status: Option<ExitStatus>,
        details: [(&str, Value); DETAILS],
    ) {
        let Some(record) = self.journal.table().get(process) else { return };
        if record.role != Role::FileOperation {
            let name = record.name.clone();
            let details = details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            self.announcer.waiting.push(Happened { kind, process, name, status, details });
        }
    }

    /// Takes who has subscribed to what.
    pub(crate) fn take_subscriptions(&mut self, told: bool) {
        self.announcer.publish(|publisher| Ok(publisher.take_subscriptions(told)?));
    }

    /// Tells what has happened.
    pub(crate) fn announce(&mut self) {
        if !self.is_ready() {
            return;
        }
        if let Some(started) = self.announcer.started.take() {
            self.announcer.publish_event(&started);
        }
        for Happened { kind, process, name, status, details } in std::mem::take(&mut self.announcer.waiting) {
            let name = name.as_ref().map(ProcessName::as_str);
            let event = NewEvent::new(&self.announcer.container, kind);
            match event::append(
                &self.announcer.paths,
                &NewEvent { process: Some(process), name, status, details, ..event },
            ) {
                Ok(event) => self.announcer.publish_event(&event),
                Err(error) => tracing::warn!(kind, "an event was not written: {:#}", anyhow::Error::new(error)),
            }
        }
    }
}
