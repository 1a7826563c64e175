//! Starting a container.

use std::time::Duration;

use anyhow::Context as _;
use appcontainers::{
    Paths,
    container::startup_specs,
    life::{LifePlan, LifeState},
    network::{self, HeldPorts, HostNetwork, Link, NetworkMode, ReservationError, Reservations, policy},
    output::LogWriter,
    process::ProcessJournal,
    record::{ContainerRecord, Init},
    runtime::{self, AGENT_SOCKET_DIR, StartMode},
    secret,
};

use crate::{
    agent::{AgentLink, Expected},
    arguments::RunArguments,
    monitor::Beginning,
    run::{LifeBefore, Running, listen, lock, publisher},
    system_init::{NO_INIT, SystemInit},
};

/// How long the monitor of the start before may take to end what it writes to the log.
const PREDECESSOR_END: Duration = Duration::from_secs(10);

/// Starts the container. Only for a process with one thread.
pub(crate) fn start(arguments: &RunArguments) -> anyhow::Result<Running> {
    let name = &arguments.name;
    let paths = Paths::from_env()?;
    let lock = lock(&paths, name, PREDECESSOR_END)?;
    let container = ContainerRecord::load(&paths, name)?
        .ok_or_else(|| runtime::RuntimeError::NoContainer { name: name.clone() })?;
    let reservations = Reservations::read(&paths)?;
    let reservation = reservations.get(name).ok_or_else(|| ReservationError::Unknown { name: name.clone() })?;
    let settings = reservations.settings();
    // Before anything runs whose output would have no place.
    let log = LogWriter::open(&paths.container_log(name))?;
    let processes = ProcessJournal::begin(&paths.container(name))?;
    let directory = paths.container_run(name);
    let mode = arguments.mode;
    let mut ports = HeldPorts::default();
    if mode == StartMode::Full {
        match container.network {
            NetworkMode::Routed => HostNetwork::ensure(&paths)?,
            NetworkMode::Bridge => HostNetwork::ensure_bridged(&paths)?,
        };
        ports.follow(&paths, name)?;
        // The host's end of the last start may still be on its way out, and with it routes to these addresses.
        for address in settings.addresses(reservation.ip).all() {
            network::delete_route(address)?;
        }
    }
    let own_program = std::env::current_exe()?;
    let kept = arguments.startup;
    let starting = runtime::begin(&paths, &container, &reservation, settings, mode, kept, &own_program)?;
    // From here on threads are fine: liblxc works in a child that was forked before.
    let prepare = || -> anyhow::Result<_> {
        if let Some(interface) = starting.host_interface() {
            policy::activate(&paths, &reservation, interface, container.network)?;
        }
        // While the start is not over yet for others: nobody changes a volume under it.
        let mounts = match mode {
            StartMode::Full | StartMode::Files => container.settings.mounts.as_slice(),
            // What is to be written there is the layer's own.
            StartMode::Renewal => &[],
        };
        let mounts = runtime::prepare_mounts(&paths, name, mounts)?;
        let owner = reservation.id_range.map_or(0, |range| range.base());
        Ok((AgentLink::bind(&directory.join(AGENT_SOCKET_DIR), Some(owner))?, listen(&directory)?, mounts))
    };
    let (mut agent, listener, mounts) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => {
            // Not waited for: it may be waiting for what does not come any more.
            starting.abandon();
            return Err(error);
        }
    };
    let publisher = match mode {
        StartMode::Full => publisher(&directory, name),
        StartMode::Files | StartMode::Renewal => None,
    };
    let is_beside = mode == StartMode::Full && container.init == Init::System;
    // One that ends at once may do so before liblxc has said that it runs.
    let hint = if is_beside { NO_INIT } else { "" };
    let start = starting.wait(&paths).map_err(|error| match is_beside {
        true => anyhow::anyhow!("{:#}{hint}", anyhow::Error::new(error)),
        false => error.into(),
    })?;
    let init = start.record.init.and_then(|init| init.pid());
    let init = init.with_context(|| format!("the container's init ended at once{hint}"))?;
    // Before the agent is greeted, so before anything of the container's own runs.
    if let Err(error) = runtime::mount_all(&paths, name, &start.record, reservation.id_range.is_some(), mounts) {
        let _ = rustix::process::pidfd_send_signal(&start.init, rustix::process::Signal::KILL);
        return Err(error.into());
    }
    if let (NetworkMode::Bridge, Some(interface)) = (container.network, &start.record.host_interface) {
        // Before the agent is greeted, so before anything of the container's own runs.
        let addresses = settings.addresses(reservation.ip);
        if let Err(error) = network::attach_port(&paths, interface, reservation.mac, addresses) {
            let _ = rustix::process::pidfd_send_signal(&start.init, rustix::process::Signal::KILL);
            return Err(error).context("cannot make the container a port of the bridge");
        }
    }
    if mode == StartMode::Full {
        // Those that LXC could not set; also before the agent is greeted.
        if let Err(error) = runtime::complete_limits(&paths, &start.record, &container.settings.limits) {
            let _ = rustix::process::pidfd_send_signal(&start.init, rustix::process::Signal::KILL);
            return Err(error).context("cannot limit the container");
        }
        policy::admit_loopback(&paths, name)?;
    }
    if let Some(interface) = &start.record.host_interface {
        let bridge = network::bridge(&paths);
        let link = Link {
            init: init.as_raw_nonzero().get(),
            host_end: if container.network.is_routed() { interface } else { &bridge },
            mac: reservation.mac,
            addresses: settings.addresses(reservation.ip),
            gateways: settings.addresses(settings.gateway),
        };
        if let Err(error) = network::settle_interface(&link) {
            // All of it comes about by itself then, later.
            tracing::warn!(%error, "cannot settle the container's interface");
        }
    }
    if mode == StartMode::Full
        && !container.settings.secrets.is_empty()
        && let Err(error) = secret::deliver_apart(&paths, name)
    {
        // Before the agent is greeted, so before anything of the container's own runs; and it does not run without them.
        let _ = rustix::process::pidfd_send_signal(&start.init, rustix::process::Signal::KILL);
        return Err(error.into());
    }
    agent.expect(if is_beside { Expected::ChildOf(init) } else { Expected::Process(init) });
    let system = is_beside.then(|| SystemInit::new(&start.record)).transpose()?;
    let beginning =
        if arguments.startup { Beginning::Startup(startup_specs(&container.config)) } else { Beginning::ForCommands };
    let mut life = LifeBefore::default();
    if mode == StartMode::Full {
        let untold = LifeState::load(&paths, name)?.filter(|state| state.untold).and_then(|state| state.last_end);
        life.plan = LifePlan::of(&container);
        life.failure = untold.map(|end| end.why);
    }
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
