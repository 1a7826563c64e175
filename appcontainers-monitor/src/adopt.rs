//! Adopting a container that runs and whose monitor has died: taking its place at the sockets, with the log and the journal
//! of processes as it left them. The agent connects again, and says what has happened since.

use std::time::Duration;

use anyhow::{Context as _, bail};
use appcontainers::{
    ContainerName, Paths,
    life::{HealthReport, LifePlan},
    network::{HeldPorts, ReservationError, Reservations},
    output::LogWriter,
    process::ProcessJournal,
    record::{ContainerRecord, Init},
    runtime::{self, AGENT_SOCKET_DIR, StartRecord, Started, Status},
    secret,
};
use rustix::process::{Signal, pidfd_send_signal};

use crate::{
    agent::{AgentLink, Expected},
    monitor::Beginning,
    run::{LifeBefore, Running, listen, lock, publisher},
    system_init::SystemInit,
};

/// How long the kernel may take to end a monitor that was killed.
const PREDECESSOR_END: Duration = Duration::from_millis(200);

/// Takes a running container over.
pub(crate) fn adopt(name: &ContainerName) -> anyhow::Result<Running> {
    let paths = Paths::from_env()?;
    // Whoever holds it is the container's monitor.
    let lock = lock(&paths, name, PREDECESSOR_END)?;
    let record = StartRecord::load(&paths, name)?.filter(|record| record.status() == Status::Running);
    let Some((record, init)) = record.and_then(|record| record.init.map(|init| (record, init))) else {
        bail!("container {name} does not run");
    };
    let handle = init.open().context("cannot open the container's init")?;
    let handle = handle.with_context(|| format!("container {name} has just ended"))?;
    let container = ContainerRecord::load(&paths, name)?;
    if record.agent.is_none() && container.as_ref().is_some_and(|container| container.init == Init::System) {
        bail!("its agent is not known: the monitor died before it had noted that");
    }
    let agent_process = record.agent.unwrap_or(init);
    // As the monitor before it: whoever calls may be about to end, and take along what is in their cgroup.
    if let Err(error) = runtime::enter_scope(&paths) {
        tracing::warn!("{:#}", anyhow::Error::new(error));
    }
    let reservations = Reservations::read(&paths)?;
    let reservation = reservations.get(name).ok_or_else(|| ReservationError::Unknown { name: name.clone() })?;
    let log = LogWriter::open(&paths.container_log(name))?;
    let processes = ProcessJournal::open(&paths.container(name))?;
    // What the dead monitor froze for a client of its own would stand still for ever.
    // What somebody has paused stays so.
    runtime::set_frozen(&record, record.paused).context("cannot thaw the container")?;
    let directory = paths.container_run(name);
    let owner = reservation.id_range.map_or(0, |range| range.base());
    let mut agent = AgentLink::bind(&directory.join(AGENT_SOCKET_DIR), Some(owner))?;
    agent.expect(Expected::Process(agent_process.pid().context("the agent has no pid")?));
    let listener = listen(&directory)?;
    let publisher = publisher(&directory, name);
    // To the agent: somebody is there again, connect now and not when the next try is due.
    let agent_handle = agent_process.open().context("cannot open the agent")?;
    let agent_handle = agent_handle.with_context(|| format!("the agent of container {name} has ended"))?;
    pidfd_send_signal(&agent_handle, Signal::USR1).context("cannot tell the agent")?;
    let mut ports = HeldPorts::default();
    if let Err(error) = ports.follow(&paths, name) {
        tracing::warn!("{:#}", anyhow::Error::new(error));
    }
    secret::catch_up(&paths, name);
    let beginning = Beginning::Adoption { kept: record.kept };
    let system = record.agent.map(|_| SystemInit::new(&record)).transpose()?;
    let plan = container.as_ref().map(LifePlan::of).unwrap_or_default();
    let life = LifeBefore { plan, failure: None, report: HealthReport::load(&paths, name)? };
    let start = Started { record, init: handle, event: None };
    Ok(Running {
        paths,
        name: name.clone(),
        start,
        system,
        agent,
        listener,
        publisher,
        log,
        processes,
        ports,
        beginning,
        life,
        lock,
    })
}
