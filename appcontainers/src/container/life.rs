//! A container's life: what is asked of it, how it stands, and waiting until it is healthy.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use appcontainers_wire::client::{FromClient, ToClient};
use jiff::Timestamp;
use serde::Serialize;

use super::{Container, lifecycle::startup_length, monitor};
use crate::{
    ContainerName, Error, Paths,
    life::{
        self, Dependency, DependencyError, HealthCheck, HealthReport, HealthStatus, LastEnd, Life, LifeState, Restart,
        Scripts,
    },
    record::{ContainerRecord, OverlayKind},
    runtime::{StartMode, StartRecord, Status},
    state::{ContainerLock, Durability, StateError},
};

/// Between two looks at the health of a container; each pause is twice the one before, up to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// More than anybody waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What was asked of a container's life, and how it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LifeDetails {
    /// What happens when it ends unasked.
    pub restart: Restart,
    /// How many times it was started again since somebody started it.
    pub restarts: u32,
    /// How many times it has failed in a row, each time soon after its start.
    pub failures: u32,
    /// When it is started again, if it is.
    pub next_restart: Option<Timestamp>,
    /// When it ended last unasked, or was ended.
    pub last_end: Option<Timestamp>,
    /// Why.
    pub last_failure: Option<String>,
    /// Its health, if anybody looks at it.
    pub health: Option<HealthDetails>,
    /// What is run in it at the turns of its life.
    pub on: Scripts,
    /// What it is started after.
    pub after: Vec<Dependency>,
}

/// A container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthDetails {
    /// How healthy it is; absent while it does not run.
    pub status: Option<HealthStatus>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How many tries have failed in a row.
    pub failures: u32,
    /// Why the last try that failed did, with the last 4 KiB of what its command printed.
    pub said: Option<String>,
    /// How it is looked at.
    pub check: HealthCheck,
}

impl LifeDetails {
    pub(super) fn new(paths: &Paths, name: &ContainerName, life: &Life, status: Status) -> Result<Self, StateError> {
        let state = if life.remembers_ends() { LifeState::load(paths, name)? } else { None };
        let LifeState { restarts, failures, last_end, next, .. } = state.unwrap_or_default();
        let health = life.health.clone().map(|check| {
            let report = match status {
                Status::Running | Status::Paused => {
                    Some(HealthReport::load(paths, name)?.unwrap_or_else(HealthReport::starting))
                }
                Status::Stopped | Status::Ended | Status::Busy => None,
            };
            Ok::<_, StateError>(HealthDetails {
                status: report.as_ref().map(|report| report.status),
                since: report.as_ref().map(|report| report.since),
                failures: report.as_ref().map_or(0, |report| report.failures),
                said: report.and_then(|report| report.said),
                check,
            })
        });
        let (last_end, last_failure) = last_end.map(|LastEnd { time, why, .. }| (time, why)).unzip();
        Ok(Self {
            restart: life.restart,
            restarts,
            failures,
            next_restart: next.map(|next| next.time),
            last_end,
            last_failure,
            health: health.transpose()?,
            on: life.on.clone(),
            after: life.after.clone(),
        })
    }
}

/// Whether this can be asked of a container's life: of one whose files go with its end, not all can.
pub(super) fn check(
    name: &ContainerName,
    overlay: OverlayKind,
    life: &Life,
    others: impl FnOnce() -> Result<Vec<ContainerRecord>, Error>,
) -> Result<(), Error> {
    life.check().map_err(|source| Error::Life { name: name.clone(), source })?;
    if overlay == OverlayKind::Tmp && !life.restart.is_no() {
        return Err(Error::EphemeralRestart { name: name.clone() });
    }
    if life.after.is_empty() {
        return Ok(());
    }
    let names = |life: &Life| life.after.iter().map(|after| after.name.clone()).collect::<Vec<_>>();
    let mut after: BTreeMap<_, _> =
        others()?.into_iter().map(|record| (record.name.clone(), names(&record.settings.life))).collect();
    after.insert(name.clone(), names(life));
    match life::find_cycle(&after, name) {
        Some(cycle) if cycle.contains(name) => {
            Err(Error::Dependency { name: name.clone(), source: DependencyError::Cycle { cycle } })
        }
        _ => Ok(()),
    }
}

impl Container {
    /// Changes what is asked of the container's life: at once, also if it runs.
    pub fn set_life(&self, change: impl FnOnce(&mut Life)) -> Result<(), Error> {
        {
            let lock = self.lock()?;
            let mut record = self.record()?;
            change(&mut record.settings.life);
            let life = &record.settings.life;
            check(&self.name, record.overlay, life, || crate::Service::open(self.paths.clone()).records())?;
            startup_length(&self.name, &record)?;
            record.store(&self.paths)?;
            if !record.settings.life.remembers_ends() {
                life::cancel(&self.paths, &lock, Durability::Volatile, |_| {})?;
            }
        }
        self.tell_life()
    }

    /// Has the monitor read what is asked of the container's life.
    fn tell_life(&self) -> Result<(), Error> {
        if self.status()? != Status::Running {
            return Ok(());
        }
        let of_monitor = |source| Error::Monitor { name: self.name.clone(), source };
        let mut connection = monitor::connect(&self.paths, &self.name)?;
        connection.wait_ready(monitor::READY_TIMEOUT).map_err(of_monitor)?;
        connection.send(&FromClient::ReadLife, &[]).map_err(of_monitor)?;
        loop {
            match connection.receive(monitor::READY_TIMEOUT).map_err(of_monitor)? {
                // What goes down reads it when it is started again.
                ToClient::Done | ToClient::Stopping | ToClient::Stopped => return Ok(()),
                _ => {}
            }
        }
    }

    /// Waits until the container, which runs or is about to be started again, is healthy; an error if it is not within `timeout`,
    /// and at once if it does not run, or has no health check.
    pub fn wait_healthy(&self, timeout: Duration) -> Result<(), Error> {
        let until = Instant::now() + timeout.min(LONGEST_WAIT);
        let mut pause = LOOKS.0;
        loop {
            let record = self.record()?;
            if record.settings.life.health.is_none() {
                return Err(Error::NoHealthCheck { name: self.name.clone() });
            }
            let status = self.status()?;
            let life = LifeDetails::new(&self.paths, &self.name, &record.settings.life, status)?;
            let health = life.health.and_then(|health| Some((health.status?, health.said)));
            match health {
                Some((HealthStatus::Healthy, _)) => return Ok(()),
                None if status.can_start() && life.next_restart.is_none() => {
                    // Its end may not have been looked at yet: what follows from it is not known before that.
                    drop(self.lock()?);
                    let state = LifeState::load(&self.paths, &self.name)?;
                    if state.is_none_or(|state| state.next.is_none()) && self.status()?.can_start() {
                        return Err(Error::EndedBeforeHealthy { name: self.name.clone() });
                    }
                }
                _ => {}
            }
            let now = Instant::now();
            if now >= until {
                let (status, said) = health.unwrap_or((HealthStatus::Starting, None));
                let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                return Err(Error::NotHealthy {
                    name: self.name.clone(),
                    status: status.as_str(),
                    waited: timeout,
                    said,
                });
            }
            let pause_end = (now + pause).min(until);
            match StartRecord::load(&self.paths, &self.name)?.and_then(|start| start.init) {
                // Its end is seen at once.
                Some(init) if status == Status::Running => drop(init.wait_end(pause_end - now)),
                _ => std::thread::sleep(pause_end - now),
            }
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    /// Starts it after its back-off, for the process that has waited for that and holds the lock. One that runs for a command goes
    /// on after it.
    pub(crate) fn start_again(&self, lock: &ContainerLock) -> Result<(), Error> {
        match self.status()? {
            Status::Running | Status::Paused => {
                self.keep()?;
                Ok(())
            }
            Status::Busy => Err(crate::runtime::RuntimeError::Busy { name: self.name.clone() }.into()),
            Status::Stopped | Status::Ended => self.launch(lock, &mut self.record()?),
        }
    }

    /// Starts it, with the lock held.
    pub(super) fn launch(&self, lock: &ContainerLock, record: &mut ContainerRecord) -> Result<(), Error> {
        if std::mem::take(&mut record.survives_stop) {
            record.store(&self.paths)?;
        }
        let mut connection = monitor::spawn(&self.paths, lock, StartMode::Full, true)?;
        Ok(monitor::wait_ready(&self.paths, lock, &mut connection)?)
    }
}
