//! What happens to containers when the host boots and when it goes down.

use std::{num::NonZeroUsize, sync::Mutex, thread, time::Duration};

use super::Service;
use crate::{Container, ContainerName, Error, container::recover, runtime::Status, state::ContainerLock};

/// How many containers are stopped at once: most of a stop is waiting.
const STOPPED_AT_ONCE: usize = 32;

/// How many containers are started at once for each processor: half of a start is waiting.
const STARTED_AT_ONCE: usize = 2;

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
                Ok(record) if !record.autostart => continue,
                Ok(_) => self.container(&name).and_then(|container| Ok((container.status()?, container))),
                Err(error) => Err(error),
            };
            match found {
                Ok((Status::Running, _)) => {}
                Ok((_, container)) => marked.push(container),
                Err(error) => outcomes.push(Outcome { name, result: Err(error) }),
            }
        }
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        outcomes.extend(some_at_once(STARTED_AT_ONCE * processors, &marked, Container::start));
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(outcomes)
    }

    /// Stops all containers that run, [`Container::stop`] with `timeout` for each; says what became of them, by name.
    pub fn stop_all(&self, timeout: Duration) -> Result<Vec<Outcome>, Error> {
        let (mut running, mut outcomes) = (Vec::new(), Vec::new());
        for name in self.find_containers()?.into_keys() {
            match self.container(&name).and_then(|container| Ok((container.status()?, container))) {
                Ok((Status::Running, container)) => running.push(container),
                Ok(_) => {}
                Err(error) => outcomes.push(Outcome { name, result: Err(error) }),
            }
        }
        outcomes.extend(some_at_once(STOPPED_AT_ONCE, &running, |container| container.stop(timeout)));
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
fn some_at_once(
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
