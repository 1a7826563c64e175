//! The life of a monitor: from the library's call to the container's end.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use appcontainers::{
    Paths,
    container::{ContainerRecord, startup_specs},
    network::{self, HostNetwork, Reservation, ReservationError, Reservations},
    output::{DEFAULT_LOG_BYTES, LogWriter},
    runtime::{self, AGENT_SOCKET_DIR, StartMode},
};
use appcontainers_wire::client::ToClient;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    process::{Resource, Rlimit, Signal, getrlimit, pidfd_send_signal, setrlimit},
};

use crate::{
    agent_link::AgentLink, arguments::RunArguments, client_link::ClientLink, event_loop::EventLoop, monitor::Monitor,
};

/// How long the monitor of the start before may take to end what it writes to the log.
const PREDECESSOR_END: Duration = Duration::from_secs(10);

/// Far more than a monitor of many clients needs.
const MOST_MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// Starts the container and looks after it until it ends. What fails is said to the first client.
pub(crate) fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    // A pipe of the caller's kept open here would never end for its reader.
    appcontainers_sys::process::close_inherited().context("cannot close what the caller left open")?;
    appcontainers_sys::process::daemonize().context("cannot leave the caller's session")?;
    // What LXC makes in the container must be there for all its users, whatever the caller's mask is.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let mut first = ClientLink::new(UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?))?;
    let container_lock = std::io::stdout().as_fd().try_clone_to_owned()?;
    // The copies are the client's socket and the container's lock now; nothing may take them for streams.
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    match start(arguments) {
        Ok(started) => {
            // The start is recorded: from here on other commands can see what became of it.
            drop(container_lock);
            watch(started, first)
        }
        Err(error) => {
            first.send(&ToClient::Failed { message: format!("{error:#}") });
            Err(error)
        }
    }
}

struct Running {
    paths: Paths,
    container: ContainerRecord,
    reservation: Reservation,
    start: runtime::Started,
    agent: AgentLink,
    listener: UnixListener,
    log: LogWriter,
    startup: bool,
    lock: File,
}

fn start(arguments: &RunArguments) -> anyhow::Result<Running> {
    let name = &arguments.name;
    let paths = Paths::from_env();
    let lock = lock(&paths, arguments)?;
    let container = ContainerRecord::load(&paths, name)?
        .ok_or_else(|| runtime::RuntimeError::NoContainer { name: name.clone() })?;
    let reservations = Reservations::read(&paths)?;
    let reservation = reservations.get(name).ok_or_else(|| ReservationError::Unknown { name: name.clone() })?;
    let settings = reservations.settings();
    // Before anything runs whose output would have no place.
    let log = LogWriter::open(&paths.container_log(name), DEFAULT_LOG_BYTES)?;
    let directory = paths.container_run(name);
    let mode = if arguments.files { StartMode::Files } else { StartMode::Full };
    if mode == StartMode::Full {
        HostNetwork::ensure(&paths)?;
        // The host's end of the last start may still be on its way out, and with it a route to this address.
        network::delete_route(reservation.ip)?;
    }
    let own_program = std::env::current_exe()?;
    let starting = runtime::begin(&paths, &container, &reservation, settings, mode, &own_program)?;
    // From here on threads are fine: liblxc works in a child that was forked before.
    let owner = Some(reservation.id_range.map_or(0, |range| range.base()));
    let mut agent = AgentLink::bind(&directory.join(AGENT_SOCKET_DIR), owner)?;
    let listener = listen(&directory)?;
    let start = starting.wait(&paths)?;
    agent.expect(start.record.init.context("the container's init ended at once")?.pid);
    let startup = arguments.startup;
    Ok(Running { paths, container, reservation, start, agent, listener, log, startup, lock })
}

fn watch(running: Running, first: ClientLink) -> anyhow::Result<()> {
    let name = running.container.name.clone();
    tracing::info!(%name, ip = %running.reservation.ip, "container runs");
    if let Err(error) = limit_resources() {
        tracing::warn!("{error:#}");
    }
    let init_pid = running.start.record.init.map_or(0, |init| init.pid as u32);
    let startup = running.startup.then(|| startup_specs(&running.container.config));
    let mut monitor = Monitor::new(running.agent, running.log, init_pid, startup);
    monitor.add_client(first);
    let init = running.start.init.try_clone()?;
    let mut events = EventLoop {
        monitor: &mut monitor,
        listener: running.listener,
        init,
        start: &running.start.record,
        accept_after: None,
    };
    let ended = events.run();
    if let Err(error) = &ended {
        // A container that nobody listens to must not go on as if it were watched.
        let _ = pidfd_send_signal(&running.start.init, Signal::KILL);
        events.monitor.fail(&format!("{error:#}"));
    }
    events.monitor.stopped();
    let root = running.paths.container_run(&name).join("root");
    if let Err(error) = appcontainers_sys::mount::unmount_lazily(&root) {
        tracing::debug!(%error, "cannot unmount the container's root");
    }
    // The container may be started again while a slow client still reads what this start printed.
    drop(running.lock);
    events.farewell();
    ended
}

/// Bounds what this process takes of the host: the container is on the other end of its socket, and libzmq bounds the
/// length of a frame, but not how many frames an unfinished message has. Clients, on the other hand, may be many.
fn limit_resources() -> anyhow::Result<()> {
    let data = Rlimit { current: Some(MOST_MEMORY_BYTES), maximum: Some(MOST_MEMORY_BYTES) };
    setrlimit(Resource::Data, data).context("cannot limit this monitor's memory")?;
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).context("cannot raise the limit of files")
}

/// At most one monitor has a container's log. The one of the last start may still be writing what it got last.
fn lock(paths: &Paths, arguments: &RunArguments) -> anyhow::Result<File> {
    let path = paths.monitor_lock(&arguments.name);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let until = Instant::now() + PREDECESSOR_END;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // The monitor of the start before outlives its container by a moment.
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(runtime::RuntimeError::Busy { name: arguments.name.clone() }),
            Err(errno) => return Err(errno).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

/// The socket for clients, which only the host's root can reach.
fn listen(directory: &Path) -> anyhow::Result<UnixListener> {
    let path = directory.join("client.sock");
    let _ = fs::remove_file(&path);
    let handle = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let old_mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // A socket's path has 107 bytes at the most (unix(7)); one through /proc is always short.
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/client.sock", handle.as_raw_fd()));
    rustix::process::umask(old_mask);
    let listener = listener.with_context(|| format!("cannot listen at {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
