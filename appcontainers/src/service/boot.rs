//! What happens to containers when the host boots and when it goes down.

use std::{thread, time::Duration};

use super::Service;
use crate::{Container, ContainerName, Error, container::recover, runtime::Status, state::ContainerLock};

/// How many containers are stopped at once: most of a stop is waiting.
const STOPPED_AT_ONCE: usize = 32;

/// What became of a container that was to be started, or stopped, with others.
#[derive(Debug)]
pub struct Outcome {
    /// The container.
    pub name: ContainerName,
    /// Whether that worked.
    pub result: Result<(), Error>,
}

impl Service {
    /// Starts the containers that are marked for that, by name, and says of each that did not run yet what became of it. Before,
    /// it removes what an earlier boot of the host has left: ephemeral containers, which are gone.
    pub fn start_all_marked(&self) -> Result<Vec<Outcome>, Error> {
        self.prepare()?;
        let mut outcomes = self.recover_all()?;
        for (name, record) in self.find_containers()? {
            let result = match record {
                Ok(record) if !record.autostart => continue,
                Ok(_) => self.container(&name).and_then(|container| match container.status()? {
                    Status::Running => Ok(None),
                    _ => container.start().map(Some),
                }),
                Err(error) => Err(error),
            };
            if let Some(result) = result.transpose() {
                outcomes.push(Outcome { name, result });
            }
        }
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
        let stop = |container: &Container| Outcome { name: container.name().clone(), result: container.stop(timeout) };
        for some in running.chunks(STOPPED_AT_ONCE) {
            thread::scope(|scope| {
                let threads: Vec<_> = some.iter().map(|container| scope.spawn(|| stop(container))).collect();
                outcomes.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
            });
        }
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
