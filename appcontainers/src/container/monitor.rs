//! Starting a container's monitor, reaching it, and waiting for its container's end.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use appcontainers_wire::client::{FromClient, ToClient};

use crate::{
    ContainerName, Paths,
    life::{Ending, Script, note_ending},
    process::{Connection, ConnectionError},
    runtime::{self, ProcessIdentity, RuntimeError, StartMode, StartRecord, Status, host_error, programs},
    secret,
    state::{ContainerLock, create_directory},
};

/// How long a start may take until the agent has answered: long, for hosts under load.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How often it is looked whether the monitor of a start that takes long is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How long liblxc may go on without the monitor that called it, which takes it some hundredths of that.
const LXC_ALONE: Duration = Duration::from_secs(3);

/// How long it is tried to get a monitor for a container whose monitor has died.
const ADOPTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The host's programs that liblxc calls. `newuidmap` is not among them on purpose: without it, liblxc writes the
/// id maps itself, which saves 4 to 6 ms.
const MONITOR_PATH: &str = "/usr/sbin:/sbin";

/// How long a start whose command is dead may take to end by itself: its monitor waits ten seconds for an operation to go.
const ABANDONED_TIMEOUT: Duration = Duration::from_secs(12);

/// How long the kernel may take to end what was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a monitor's own messages go, in the container's run directory.
const LOG: &str = "monitor.log";

/// Starts a monitor, which starts the container; the connection is its first client's. The caller has found that the
/// container does not run. The monitor shares the lock until the start is recorded: if the caller is killed, the next
/// command waits until it can see what came of the start.
pub(super) fn spawn(
    paths: &Paths,
    lock: &ContainerLock,
    mode: StartMode,
    startup: bool,
) -> Result<Connection, RuntimeError> {
    let name = lock.name();
    runtime::prewarm();
    let directory = paths.container_run(name);
    create_directory(&directory, 0o711).map_err(host_error("create", &directory))?;
    let log = directory.join(LOG);
    let stderr = File::create(&log).map_err(host_error("create", &log))?;
    let mut words = vec!["run"];
    match mode {
        StartMode::Full => {}
        StartMode::Files => words.push("--files"),
        StartMode::Renewal => words.push("--renewal"),
    }
    if startup {
        words.push("--startup");
    }
    launch(paths, name, &words, lock.share()?.into(), stderr)
}

/// Starts the monitor's program; the connection is its first client's.
fn launch(
    paths: &Paths,
    name: &ContainerName,
    words: &[&str],
    stdout: Stdio,
    stderr: File,
) -> Result<Connection, RuntimeError> {
    let of_monitor = |source| RuntimeError::Monitor { name: name.clone(), source };
    let (connection, monitors_end) = Connection::pair().map_err(of_monitor)?;
    let program = programs::monitor()?;
    let mut command = Command::new(&program);
    command.args(words).arg(name.as_str()).env_clear().env("PATH", MONITOR_PATH);
    command.env("APPC_ROOT", paths.root()).env("APPC_RUN", paths.run());
    for passed in ["APPC_LIBEXEC", "APPC_LOG"].into_iter().chain(secret::KEY_VARIABLES) {
        if let Some(value) = std::env::var_os(passed) {
            command.env(passed, value);
        }
    }
    command.current_dir("/").stdin(monitors_end).stdout(stdout).stderr(stderr);
    // It goes on in a child of its own at once, so this wait is short.
    let status = command.status().map_err(host_error("run", &program))?;
    if !status.success() {
        let said = last_words(&paths.container_run(name).join(LOG));
        let said = said.unwrap_or_else(|| format!("{} ended with {status}", program.display()));
        return Err(RuntimeError::NotStarted { name: name.clone(), said });
    }
    Ok(connection)
}

/// A connection to the monitor of a container that runs. If that monitor has died, another one adopts the container first.
pub(super) fn connect(paths: &Paths, name: &ContainerName) -> Result<Connection, RuntimeError> {
    let until = Instant::now() + ADOPTION_TIMEOUT;
    loop {
        let source = match Connection::open(&paths.container_run(name)) {
            Ok(connection) => return Ok(connection),
            Err(source) => source,
        };
        if runtime::status(paths, name)? != Status::Running {
            return Err(RuntimeError::Monitor { name: name.clone(), source });
        }
        if let Err(error) = adopt(paths, name)
            && Instant::now() >= until
        {
            return Err(error);
        }
    }
}

/// Has a new monitor take over a container that runs. Of several at once, one gets it and the others fail.
fn adopt(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    let log = paths.container_run(name).join(LOG);
    let stderr = File::options().append(true).create(true).open(&log).map_err(host_error("open", &log))?;
    let mut connection = launch(paths, name, &["adopt"], Stdio::null(), stderr)?;
    match connection.wait_ready(READY_TIMEOUT) {
        Ok(()) => Ok(()),
        Err(ConnectionError::Refused(said)) => Err(RuntimeError::NotAdopted { name: name.clone(), said }),
        Err(source) => Err(RuntimeError::Monitor { name: name.clone(), source }),
    }
}

/// Waits until the monitor says that the container runs; after a failed start, clears up.
pub(super) fn wait_ready(paths: &Paths, lock: &ContainerLock, connection: &mut Connection) -> Result<(), RuntimeError> {
    let Err(source) = await_start(paths, lock.name(), connection) else { return Ok(()) };
    let name = lock.name().clone();
    let error = match source {
        // The monitor's words name the container and what failed.
        ConnectionError::Refused(said) => RuntimeError::NotStarted { name, said },
        ConnectionError::Ended => {
            let said = last_words(&paths.container_run(&name).join(LOG));
            RuntimeError::NotStarted { name, said: said.unwrap_or_else(|| "its monitor died".to_owned()) }
        }
        source => RuntimeError::Monitor { name, source },
    };
    if let Err(undo) = end(paths, lock) {
        tracing::warn!(name = %lock.name(), %undo, "cannot clear up after a start that failed; the next command will");
    }
    Err(error)
}

/// As [`Connection::wait_ready`]. The child that calls liblxc has the monitor's end of the connection, too: where the monitor was
/// killed, and LXC waits for ever for an init that is dead, this connection does not end by itself.
fn await_start(paths: &Paths, name: &ContainerName, connection: &mut Connection) -> Result<(), ConnectionError> {
    let until = Instant::now() + READY_TIMEOUT;
    let mut dead_since = None;
    loop {
        match connection.wait_ready(LOOK) {
            Err(ConnectionError::TimedOut { .. }) if Instant::now() < until => {
                let start = StartRecord::load(paths, name).ok().flatten();
                if start.is_none_or(|start| start.monitor.is_alive()) {
                    dead_since = None;
                } else if dead_since.get_or_insert_with(Instant::now).elapsed() > LXC_ALONE {
                    return Err(ConnectionError::Ended);
                }
            }
            result => return result,
        }
    }
}

/// Asks the container to stop and waits for its end: without a monitor, its init is killed.
pub(super) fn stop(paths: &Paths, name: &ContainerName, grace: Duration) -> Result<(), RuntimeError> {
    let asked = connect(paths, name).and_then(|mut connection| {
        let message = FromClient::Stop { grace_ms: grace.as_millis() as u64 };
        let of_monitor = |source| RuntimeError::Monitor { name: name.clone(), source };
        connection.send(&message, &[]).map_err(of_monitor)?;
        Ok(connection)
    });
    let Ok(mut connection) = asked else { return kill(paths, name) };
    let start = StartRecord::load(paths, name)?;
    // Its script for that comes before, in a time of its own.
    let timeout = grace + grace.min(Script::Stop.limit()) + Duration::from_secs(15);
    let until = Instant::now() + timeout;
    loop {
        match connection.receive(until.saturating_duration_since(Instant::now())) {
            Ok(ToClient::Stopped) => return wait_ended(paths, name, timeout),
            // One of another version may understand this all the same, and how else could the container be restarted?
            Ok(_) | Err(ConnectionError::Version { .. }) => {}
            Err(ConnectionError::TimedOut { .. }) => {
                return Err(RuntimeError::NotStopped { name: name.clone(), waited: timeout });
            }
            // The monitor's end is the container's, unless it was killed.
            Err(_) => return start.map_or(Ok(()), |start| kill_start(name, &start)),
        }
    }
}

/// Kills the container's init, and with it everything in the container, and waits for its end.
pub(super) fn kill(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    let Some(start) = StartRecord::load(paths, name)?.filter(|start| start.status() != Status::Ended) else {
        return Ok(());
    };
    kill_start(name, &start)
}

fn kill_start(name: &ContainerName, start: &StartRecord) -> Result<(), RuntimeError> {
    let Some(init) = start.init else { return Ok(()) };
    if init.is_alive() {
        // Frozen processes die only when they are thawed.
        let _ = runtime::set_frozen(start, false);
    }
    kill_process(name, init)
}

/// Ends what lives of the container's last start, and clears up after it. The caller holds the lock, which a start
/// shares with its monitor until it is recorded: so no living command waits for this one.
pub(super) fn end(paths: &Paths, lock: &ContainerLock) -> Result<(), RuntimeError> {
    let name = lock.name();
    note_ending(paths, name, Ending::NotStarted)?;
    if let Some(start) = StartRecord::load(paths, name)?
        && start.init.is_none()
        && start.status() != Status::Ended
    {
        kill_process(name, start.monitor)?;
    }
    kill(paths, name)?;
    runtime::finish(paths, lock, None)?;
    Ok(())
}

fn kill_process(name: &ContainerName, process: ProcessIdentity) -> Result<(), RuntimeError> {
    let path = || Path::new("/proc").join(process.pid.to_string());
    process.kill().map_err(host_error("kill", path()))?;
    match process.wait_end(KILL_TIMEOUT).map_err(host_error("wait for", path()))? {
        true => Ok(()),
        false => Err(RuntimeError::NotStopped { name: name.clone(), waited: KILL_TIMEOUT }),
    }
}

/// Waits until a start whose command is dead has ended by itself: an operation on files leaves nothing half there if it is let
/// go. Not where nobody would end it.
pub(super) fn wait_abandoned(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    if let Some(start) = StartRecord::load(paths, name)?
        && start.monitor.is_alive()
        && let Some(init) = start.init
    {
        init.wait_end(ABANDONED_TIMEOUT).map_err(host_error("wait for", "the container's init"))?;
    }
    Ok(())
}

/// Waits until the container's init has ended, if the container is in a start that has come so far.
pub(super) fn wait_ended(paths: &Paths, name: &ContainerName, timeout: Duration) -> Result<(), RuntimeError> {
    let start = StartRecord::load(paths, name)?.filter(|start| start.status() != Status::Ended);
    let Some(init) = start.and_then(|start| start.init) else { return Ok(()) };
    match init.wait_end(timeout).map_err(host_error("wait for", "the container's init"))? {
        true => Ok(()),
        false => Err(RuntimeError::NotStopped { name: name.clone(), waited: timeout }),
    }
}

/// The last thing that a monitor which died wrote.
fn last_words(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("note: "))?;
    Some(line.rsplit_once(" ERROR ").map_or(line, |(_, said)| said).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_monitors_last_line_is_what_it_said_last() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join(LOG);
        assert_eq!(last_words(&log), None);
        fs::write(&log, "appc-monitor: error while loading shared libraries: libzmq.so.5\n\n").unwrap();
        assert_eq!(
            last_words(&log).as_deref(),
            Some("appc-monitor: error while loading shared libraries: libzmq.so.5")
        );
        fs::write(&log, "2026-01-01T00:00:00Z  INFO x: container runs\n2026-01-01T00:00:00Z ERROR x: no room\n")
            .unwrap();
        assert_eq!(last_words(&log).as_deref(), Some("x: no room"));
    }
}
