//! Starting several containers, each after those that it depends on.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    thread,
    time::Duration,
};

use super::{Outcome, Service, boot::some_at_once};
use crate::{
    Container, ContainerName, Error,
    life::{Dependency, DependencyError, order},
    record::ContainerRecord,
    runtime::{RuntimeError, Status},
};

/// How many containers are started at once for each processor: half of a start is waiting.
const STARTED_AT_ONCE: usize = 2;

impl Service {
    /// Starts containers, each after those that it depends on, and says what became of them, by name. What one depends on and is not
    /// named has to run. One of which that, or its start, failed is not started; containers in a circle are not, nor what is after
    /// them. `patience` is how long is waited until one is healthy after which another one is started.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use appcontainers::{Paths, Service};
    ///
    /// let service = Service::open(Paths::from_env()?);
    /// for outcome in service.start_all(&["web".parse()?, "db".parse()?], Duration::from_secs(60))? {
    ///     outcome.result?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_all(&self, names: &[ContainerName], patience: Duration) -> Result<Vec<Outcome>, Error> {
        let mut records = Vec::new();
        for name in names.iter().collect::<BTreeSet<_>>() {
            records.push(self.container(name)?.record()?);
        }
        Ok(self.start_in_order(records, patience))
    }

    pub(super) fn start_in_order(&self, records: Vec<ContainerRecord>, patience: Duration) -> Vec<Outcome> {
        let after: BTreeMap<ContainerName, Vec<Dependency>> =
            records.into_iter().map(|record| (record.name, record.settings.life.after)).collect();
        let names = |all: &[Dependency]| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        let (steps, circles) = order(&after.iter().map(|(name, all)| (name.clone(), names(all))).collect());
        let (mut outcomes, mut failed) = (Vec::new(), BTreeSet::new());
        for (name, cycle) in circles {
            let source = DependencyError::Cycle { cycle };
            outcomes.push(Outcome { name: name.clone(), result: Err(Error::Dependency { name, source }) });
        }
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        for step in steps {
            let mut containers = Vec::new();
            for name in step {
                let container = self.container(&name);
                match container {
                    Ok(container) => containers.push(container),
                    Err(error) => {
                        failed.insert(name.clone());
                        outcomes.push(Outcome { name, result: Err(error) });
                    }
                }
            }
            let start = |container: &Container| {
                let name = container.name();
                for one in &after[name] {
                    self.wait_for(name, one, &failed, after.contains_key(&one.name), patience)?;
                }
                match container.start() {
                    // What is to run, runs.
                    Err(Error::Runtime(RuntimeError::Running { .. })) if after.len() > 1 => Ok(()),
                    started => started,
                }
            };
            let done = some_at_once(STARTED_AT_ONCE * processors, &containers, start);
            failed.extend(done.iter().filter(|outcome| outcome.result.is_err()).map(|outcome| outcome.name.clone()));
            outcomes.extend(done);
        }
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        outcomes
    }

    /// Waits until what a container depends on is as it has to be.
    fn wait_for(
        &self,
        name: &ContainerName,
        one: &Dependency,
        failed: &BTreeSet<ContainerName>,
        is_started_now: bool,
        patience: Duration,
    ) -> Result<(), Error> {
        let after = one.name.clone();
        let because = |source| Error::Dependency { name: name.clone(), source };
        if failed.contains(&after) {
            return Err(because(DependencyError::Failed { after }));
        }
        let container = match self.container(&after) {
            Err(Error::Runtime(RuntimeError::NoContainer { .. })) => {
                return Err(because(DependencyError::Missing { name: name.clone(), after }));
            }
            container => container?,
        };
        if !is_started_now && container.status()? != Status::Running {
            return Err(because(DependencyError::NotRunning { name: name.clone(), after }));
        }
        if !one.healthy {
            return Ok(());
        }
        match container.wait_healthy(patience) {
            Err(Error::NoHealthCheck { .. }) => Err(because(DependencyError::NoCheck { after })),
            healthy => healthy,
        }
    }
}
