//! What happens to containers when the host boots and when it goes down.

use std::{sync::Mutex, thread, time::Duration};

use super::Service;
use crate::{
    Container, ContainerName, Error, container::recover, life::LifeState, record::ContainerRecord, runtime::Status,
    state::ContainerLock,
};

/// How many containers are stopped at once: most of a stop is waiting.
const STOPPED_AT_ONCE: usize = 32;

/// How long the host's boot waits until a container is healthy after which others are started.
const HEALTH_PATIENCE: Duration = Duration::from_secs(120);

/// What became of a container that was to be started, or stopped, with others.
#[derive(Debug)]
pub struct Outcome {
    /// The container.
    pub name: ContainerName,
    /// Whether that worked.
    pub result: Result<(), Error>,
}

impl Service {
    /// Starts the containers that are marked for that, some at once, and says of each that did not run yet what became of it, by
    /// name. Before, it removes what an earlier boot of the host has left: ephemeral containers, which are gone.
    pub fn start_all_marked(&self) -> Result<Vec<Outcome>, Error> {
        self.prepare()?;
        let mut outcomes = self.recover_all()?;
        let mut marked = Vec::new();
        for (name, record) in self.find_containers()? {
            let found = match record {
                Ok(record) => self.starts_at_boot(&record).and_then(|is_marked| match is_marked {
                    true => self.container(&name).and_then(|container| Ok(Some((container.status()?, record)))),
                    false => Ok(None),
                }),
                Err(error) => Err(error),
            };
            match found {
                Ok(None | Some((Status::Running, _))) => {}
                Ok(Some((_, record))) => marked.push(record),
                Err(error) => outcomes.push(Outcome { name, result: Err(error) }),
            }
        }
        outcomes.extend(self.start_in_order(marked, HEALTH_PATIENCE));
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(outcomes)
    }

    /// Whether the host's boot starts a container: it is marked for that, or its restart policy says so.
    fn starts_at_boot(&self, record: &ContainerRecord) -> Result<bool, Error> {
        let policy = record.settings.life.restart;
        if record.autostart || policy.is_no() {
            return Ok(record.autostart);
        }
        let state = LifeState::load(&self.paths, &record.name)?;
        Ok(policy.starts_at_boot(state.is_some_and(|state| state.stopped)))
    }

    /// Stops all containers that run, as [`Container::stop`] does with `timeout` for each, but that the host's next boot starts
    /// those whose restart policy is `unless-stopped`; says what became of them, by name.
    pub fn stop_all(&self, timeout: Duration) -> Result<Vec<Outcome>, Error> {
        let (mut running, mut outcomes) = (Vec::new(), Vec::new());
        for name in self.find_containers()?.into_keys() {
            match self.container(&name).and_then(|container| Ok((container.status()?, container))) {
                Ok((Status::Running, container)) => running.push(container),
                Ok(_) => {}
                Err(error) => outcomes.push(Outcome { name, result: Err(error) }),
            }
        }
        outcomes.extend(some_at_once(STOPPED_AT_ONCE, &running, |container| container.stop_with_host(timeout)));
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(outcomes)
    }

    /// Finishes what starts and commands that are over have left of any container; those of which that failed.
    fn recover_all(&self) -> Result<Vec<Outcome>, Error> {
        let recovered = self.names()?.into_iter().map(|name| {
            // Whoever has it is at work on it.
            let result = match ContainerLock::try_acquire(&self.paths, &name) {
                Ok(lock) => lock.map_or(Ok(()), |lock| recover(&self.paths, &lock)),
                Err(error) => Err(error.into()),
            };
            Outcome { name, result }
        });
        Ok(recovered.filter(|outcome| outcome.result.is_err()).collect())
    }
}

/// Does the same with all containers, with so many of them at once; what became of them, in any order.
pub(super) fn some_at_once(
    most: usize,
    containers: &[Container],
    what: impl Fn(&Container) -> Result<(), Error> + Sync,
) -> Vec<Outcome> {
    let (next, outcomes) = (Mutex::new(containers.iter()), Mutex::new(Vec::with_capacity(containers.len())));
    let work = || {
        loop {
            // A lock of its own statement: it is not held meanwhile.
            let Some(container) = next.lock().ok().and_then(|mut next| next.next()) else { return };
            let outcome = Outcome { name: container.name().clone(), result: what(container) };
            if let Ok(mut outcomes) = outcomes.lock() {
                outcomes.push(outcome);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..most.min(containers.len()) {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap_or_default()
}
