//! Starting a container's monitor, reaching it, and waiting for its container's end.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use appcontainers_wire::client::FromClient;

use crate::{
    ContainerName, Paths,
    process::{Connection, ConnectionError},
    runtime::{self, RuntimeError, StartMode, StartRecord, Status, host_error, programs},
    state::{ContainerLock, create_directory},
};

/// How long a start may take until the agent has answered: long, for hosts under load.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The host's programs that liblxc calls. `newuidmap` is not among them on purpose: without it, liblxc writes the
/// id maps itself, which saves 4 to 6 ms.
const MONITOR_PATH: &str = "/usr/sbin:/sbin";

/// Starts a monitor, which starts the container; the connection is its first client's. The caller holds the
/// container's lock and has found that it does not run.
pub(super) fn spawn(
    paths: &Paths,
    name: &ContainerName,
    mode: StartMode,
    startup: bool,
) -> Result<Connection, RuntimeError> {
    runtime::prewarm();
    let directory = paths.container_run(name);
    create_directory(&directory, 0o711).map_err(host_error("create", &directory))?;
    let log = directory.join("monitor.log");
    let stderr = File::create(&log).map_err(host_error("create", &log))?;
    let of_monitor = |source| RuntimeError::Monitor { name: name.clone(), source };
    let (connection, monitors_end) = Connection::pair().map_err(of_monitor)?;
    let program = programs::monitor()?;
    let mut command = Command::new(&program);
    command.arg("run");
    if mode == StartMode::Files {
        command.arg("--files");
    }
    if startup {
        command.arg("--startup");
    }
    command.arg(name.as_str()).env_clear().env("PATH", MONITOR_PATH);
    command.env("APPC_ROOT", paths.root()).env("APPC_RUN", paths.run());
    for passed in ["APPC_LIBEXEC", "APPC_LOG"] {
        if let Some(value) = std::env::var_os(passed) {
            command.env(passed, value);
        }
    }
    command.current_dir("/").stdin(monitors_end).stdout(Stdio::null()).stderr(stderr);
    // It goes on in a child of its own at once, so this wait is short.
    command.status().map_err(host_error("run", &program))?;
    Ok(connection)
}

/// A connection to the monitor of a container that runs.
pub(super) fn connect(paths: &Paths, name: &ContainerName) -> Result<Connection, RuntimeError> {
    Connection::open(&paths.container_run(name)).map_err(|source| RuntimeError::Monitor { name: name.clone(), source })
}

/// Waits until the monitor says that the container runs; after a failed start, clears up.
pub(super) fn wait_ready(paths: &Paths, lock: &ContainerLock, connection: &mut Connection) -> Result<(), RuntimeError> {
    let Err(source) = connection.wait_ready(READY_TIMEOUT) else { return Ok(()) };
    let name = lock.name();
    let said = match source {
        // The monitor's words name the container and what failed.
        ConnectionError::Refused(said) => said,
        source => return Err(RuntimeError::Monitor { name: name.clone(), source }),
    };
    wait_ended(paths, name, Duration::from_secs(10))?;
    runtime::finish(paths, lock, None)?;
    Err(RuntimeError::NotStarted { name: name.clone(), said })
}

/// Asks the container to stop and waits for its end: without a monitor, its init is killed.
pub(super) fn stop(paths: &Paths, name: &ContainerName, grace: Duration) -> Result<(), RuntimeError> {
    let asked = connect(paths, name).and_then(|mut connection| {
        let message = FromClient::Stop { grace_ms: grace.as_millis() as u64 };
        let of_monitor = |source| RuntimeError::Monitor { name: name.clone(), source };
        connection.send(&message, &[]).map_err(of_monitor)?;
        Ok(connection)
    });
    match asked {
        // Kept open: the monitor answers until the end.
        Ok(_connection) => wait_ended(paths, name, grace + Duration::from_secs(15)),
        Err(_) => {
            kill(paths, name)?;
            wait_ended(paths, name, Duration::from_secs(15))
        }
    }
}

/// Kills the container's init, and with it everything in the container.
pub(super) fn kill(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let Some(start) = StartRecord::load(paths, name)? else { return Ok(()) };
    let Some(init) = start.init else { return Ok(()) };
    let Some(pidfd) = init.pid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return Ok(()) };
    // The pidfd is of this pid's present owner: look once more that it is the init.
    if init.is_alive() {
        // Frozen processes die only when they are thawed.
        let _ = runtime::set_frozen(&start, false);
        let path = Path::new("/proc").join(init.pid.to_string());
        pidfd_send_signal(pidfd, Signal::KILL).map_err(|errno| host_error("kill", path)(errno.into()))?;
    }
    Ok(())
}

/// Waits until the container's init and the monitor's start are over.
pub(super) fn wait_ended(paths: &Paths, name: &ContainerName, timeout: Duration) -> Result<(), RuntimeError> {
    let until = Instant::now() + timeout;
    while let Some(start) = StartRecord::load(paths, name)?
        && start.status() != Status::Ended
    {
        let awaited = start.init.unwrap_or(start.monitor);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !awaited.wait_end(left).map_err(host_error("wait for", "the container's init"))? {
            return Err(RuntimeError::NotStopped { name: name.clone(), waited: timeout });
        }
    }
    Ok(())
}
