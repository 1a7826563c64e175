//! The life of a monitor: from the library's call to the container's end. How the container gets running is [`crate::start`]'s
//! and [`crate::adopt`]'s.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use appcontainers::{
    ContainerName, Paths,
    life::{HealthReport, LifePlan},
    network::HeldPorts,
    output::LogWriter,
    process::ProcessJournal,
    runtime,
};
use appcontainers_wire::client::ToClient;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    process::{Resource, Rlimit, Signal, getrlimit, pidfd_send_signal, setrlimit},
};

use crate::{
    agent::{AgentLink, Inbox},
    client_link::ClientLink,
    event_loop::{EventLoop, limits},
    monitor::{Announcer, Beginning, Monitor},
    oom::OomWatch,
    publisher::Publisher,
    system_init::SystemInit,
};

/// Far more than a monitor of many clients needs.
const MOST_MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// Gets the container running, or adopts it, and looks after it until it ends. What fails is said to the first client.
pub(crate) fn run(name: &ContainerName, begin: impl FnOnce() -> anyhow::Result<Running>) -> anyhow::Result<()> {
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
    match begin() {
        Ok(running) => {
            // The start is recorded: from here on other commands can see what became of it.
            drop(container_lock);
            tracing::info!(%name, "container runs");
            watch(running, first)
        }
        Err(error) => {
            first.send(&ToClient::Failed { message: format!("{error:#}") }, &[]);
            Err(error)
        }
    }
}

/// A container that runs, and all that its monitor holds of it.
pub(crate) struct Running {
    pub(crate) paths: Paths,
    pub(crate) name: ContainerName,
    pub(crate) start: runtime::Started,
    /// Where the init is the container's own.
    pub(crate) system: Option<SystemInit>,
    pub(crate) agent: AgentLink,
    pub(crate) listener: UnixListener,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) log: LogWriter,
    pub(crate) processes: ProcessJournal,
    pub(crate) ports: HeldPorts,
    pub(crate) beginning: Beginning,
    pub(crate) life: LifeBefore,
    pub(crate) lock: File,
}

/// What is asked of the container's life, and what is known of it.
#[derive(Default)]
pub(crate) struct LifeBefore {
    pub(crate) plan: LifePlan,
    /// How it has failed before this start, where its script for that has not heard of it.
    pub(crate) failure: Option<String>,
    /// What the monitor before this one has found.
    pub(crate) report: Option<HealthReport>,
}

fn watch(running: Running, first: ClientLink) -> anyhow::Result<()> {
    if let Err(error) = limit_resources() {
        tracing::warn!("{error:#}");
    }
    let init_pid = running.start.record.init.map_or(0, |init| init.pid as u32);
    let is_adopted = matches!(running.beginning, Beginning::Adoption { .. });
    let announcer = Announcer::new(running.paths.clone(), running.name.clone(), running.publisher, running.start.event);
    let mut monitor =
        Monitor::new(running.agent, running.log, running.processes, announcer, init_pid, running.beginning);
    monitor.add_client(first);
    monitor.set_nofile(limits(&running.paths, &running.name).nofile);
    if running.start.record.paused {
        monitor.adopt_paused();
    }
    let LifeBefore { plan, failure, report } = running.life;
    monitor.set_life(plan, failure, report)?;
    let init = running.start.init.try_clone()?;
    let mut events = EventLoop {
        monitor: &mut monitor,
        inbox: Inbox::default(),
        listener: running.listener,
        init,
        oom: OomWatch::new(
            &running.start.record,
            if is_adopted { runtime::oom_kills(&running.start.record) } else { 0 },
        ),
        start: running.start.record,
        system: running.system,
        paths: &running.paths,
        name: &running.name,
        ports: running.ports,
        accept_after: None,
    };
    let ended = events.run();
    if let Err(error) = &ended {
        let why = format!("{error:#}");
        events.monitor.fail(&why);
        if is_adopted && !events.monitor.is_ready() {
            // It was not understood, and is left as it was found: it can be stopped.
            events.farewell();
            return ended;
        }
        events.monitor.note_failure(&why);
        // A container that nobody listens to must not go on as if it were watched.
        let _ = pidfd_send_signal(&running.start.init, Signal::KILL);
    }
    events.monitor.stopped();
    let orphan = events.start.clone();
    let root = running.paths.container_run(&running.name).join("root");
    if let Err(error) = appcontainers_sys::mount::unmount_lazily(&root) {
        tracing::debug!(%error, "cannot unmount the container's root");
    }
    // The container may be started again while a slow client still reads what this start printed.
    drop(running.lock);
    events.farewell();
    reap_orphan(&running.paths, &running.name, &orphan);
    ended
}

/// LXC's monitor has the container cleared up; where that was killed, and took the container with it, nobody does.
fn reap_orphan(paths: &Paths, name: &ContainerName, start: &runtime::StartRecord) {
    if runtime::has_lxc_monitor(start) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.arg("reap").arg("--root").arg(paths.root()).arg("--run").arg(paths.run()).arg(name.as_str()).arg(&start.id);
    if let Err(error) = command.current_dir("/").status() {
        tracing::warn!(%error, "cannot clear up after the container");
    }
}

/// Bounds what this process takes of the host, whatever is wrong with it: the container is on the other end of its socket.
/// Clients, on the other hand, may be many.
fn limit_resources() -> anyhow::Result<()> {
    let data = Rlimit { current: Some(MOST_MEMORY_BYTES), maximum: Some(MOST_MEMORY_BYTES) };
    setrlimit(Resource::Data, data).context("cannot limit this monitor's memory")?;
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).context("cannot raise the limit of files")
}

/// At most one monitor has a container's log. The one of the last start may still be writing what it got last: a moment for which
/// a start waits, so it is asked for each millisecond and not less and less often, as for the locks of commands
/// ([`appcontainers::state`]).
pub(crate) fn lock(paths: &Paths, name: &ContainerName, patience: Duration) -> anyhow::Result<File> {
    let path = paths.monitor_lock(name);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let until = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // The monitor of the start before outlives its container by a moment.
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(runtime::RuntimeError::Busy { name: name.clone() }),
            Err(errno) => return Err(errno).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

/// The socket for clients, which only the host's root can reach.
pub(crate) fn listen(directory: &Path) -> anyhow::Result<UnixListener> {
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

/// The sockets for others. A container runs without them as well.
pub(crate) fn publisher(directory: &Path, name: &ContainerName) -> Option<Publisher> {
    let bound = Publisher::bind(directory, name);
    bound.inspect_err(|error| tracing::warn!("nothing will be published: {error:#}")).ok()
}
