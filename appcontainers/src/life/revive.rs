//! Starting a container again after its back-off, by a process that does nothing else.
//!
//! It holds no lock while it waits, so that whoever wants something else of the container goes ahead, and ends it. If it is killed, the
//! next command that has to do with the container (or `gc`) starts another one.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{LifeState, NextRestart, Restart, ending, restart};
use crate::{
    Container, ContainerName, Error, Paths, event,
    record::ContainerRecord,
    runtime::{self, ProcessIdentity, RuntimeError, StartRecord, Status, boot, host_error, programs},
    state::{ContainerLock, Durability},
};

/// Waits for the restart that is due of a container, and starts it; again and again where that fails, as its policy says. Returns
/// when there is none due, or another process waits for it.
pub fn wait_and_restart(paths: &Paths, name: &ContainerName) -> Result<(), Error> {
    let own = ProcessIdentity::own();
    let mut due = None;
    loop {
        let lock = ContainerLock::acquire(paths, name)?;
        runtime::finish(paths, &lock, None)?;
        let Some((record, mut state, next)) = find(paths, &lock)? else { return Ok(()) };
        if next.waiter != own {
            if next.is_awaited() {
                return Ok(());
            }
            state.next = Some(NextRestart { waiter: own, ..next.clone() });
            state.store(paths, name, Durability::Volatile)?;
        }
        // By this process's own clock: the host's may be set.
        let pause = Duration::from_millis(next.pause_ms).min(restart::LONGEST_PAUSE);
        let left = Duration::try_from(next.time.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
        let due_at = *due.get_or_insert_with(|| Instant::now() + left.min(pause));
        let now = Instant::now();
        if now < due_at {
            drop(lock);
            thread::sleep(due_at - now);
            continue;
        }
        due = None;
        if let Err(error) = restart(paths, &lock, &record, &mut state) {
            tracing::warn!(%name, "cannot start it again: {:#}", crate::error::chain(&error));
        }
    }
}

/// The restart that is due, if nobody took it back. One that was done by a process that was killed then is noted as done.
fn find(paths: &Paths, lock: &ContainerLock) -> Result<Option<(ContainerRecord, LifeState, NextRestart)>, Error> {
    let name = lock.name();
    let (Some(record), Some(mut state)) = (ContainerRecord::load(paths, name)?, LifeState::load(paths, name)?) else {
        // Where the lock's file is, it was made for nothing.
        if ContainerRecord::load(paths, name)?.is_none() {
            lock.remove()?;
        }
        return Ok(None);
    };
    let Some(next) = state.next.clone() else { return Ok(None) };
    if next.boot != boot::id() || is_kept(paths, name)? {
        state.next = None;
        state.store(paths, name, Durability::Volatile)?;
        return Ok(None);
    }
    Ok(Some((record, state, next)))
}

/// Whether it runs, and not only for a command.
fn is_kept(paths: &Paths, name: &ContainerName) -> Result<bool, Error> {
    Ok(StartRecord::load(paths, name)?.is_some_and(|start| start.kept && start.status() == Status::Running))
}

fn restart(paths: &Paths, lock: &ContainerLock, record: &ContainerRecord, state: &mut LifeState) -> Result<(), Error> {
    let name = lock.name();
    state.restarts = state.restarts.saturating_add(1);
    let pause_ms = state.next.as_ref().map_or(0, |next| next.pause_ms);
    event::note(paths, name, "restart", &[("restarts", state.restarts.into()), ("pause_ms", pause_ms.into())]);
    state.store(paths, name, Durability::Volatile)?;
    let started = Container::open(paths, name).and_then(|container| container.start_again(lock));
    match &started {
        Ok(()) => (state.next, state.untold) = (None, false),
        Err(error) => {
            let why = crate::error::chain(error);
            event::note(paths, name, "fail", &[("error", why.as_str().into())]);
            if let Some(end) = &mut state.last_end {
                (end.time, end.why) = (Timestamp::now(), why);
            }
            // What asked for this restart asks for the next one, too.
            let policy =
                if record.settings.life.restart.is_no() { Restart::Always } else { record.settings.life.restart };
            ending::plan(paths, name, policy, state);
        }
    }
    state.store(paths, name, Durability::Volatile)?;
    started
}

/// Has somebody wait for a restart that is due and for which nobody waits, because the one who did was killed.
pub(crate) fn mend(paths: &Paths, lock: &ContainerLock) -> Result<(), Error> {
    let is_left = |next: &NextRestart| !next.is_awaited();
    if LifeState::load(paths, lock.name())?.and_then(|state| state.next).is_some_and(|next| is_left(&next))
        && find(paths, lock)?.is_some()
    {
        launch(paths, lock.name())?;
    }
    Ok(())
}

fn launch(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    let program = programs::monitor()?;
    let mut command = Command::new(&program);
    command.args(["revive", name.as_str()]).env_clear().env("PATH", "/usr/sbin:/sbin");
    command.env("APPC_ROOT", paths.root()).env("APPC_RUN", paths.run());
    for passed in ["APPC_LIBEXEC", "APPC_LOG"] {
        if let Some(value) = std::env::var_os(passed) {
            command.env(passed, value);
        }
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It goes on in a child of its own at once.
    command.status().map_err(host_error("run", &program))?;
    Ok(())
}

/// Takes back a restart that is due, and ends who waits for it. The caller holds the lock, so that one does nothing but wait.
/// `change` says what else is to be known from now on.
pub(crate) fn cancel(
    paths: &Paths,
    lock: &ContainerLock,
    durability: Durability,
    change: impl FnOnce(&mut LifeState),
) -> Result<(), Error> {
    let Some(before) = LifeState::load(paths, lock.name())? else { return Ok(()) };
    let mut state = LifeState { next: None, ..before.clone() };
    change(&mut state);
    if state != before {
        state.store(paths, lock.name(), durability)?;
    }
    if let Some(waiter) =
        before.next.and_then(|next| next.waiter).filter(|waiter| Some(*waiter) != ProcessIdentity::own())
    {
        waiter.kill().map_err(host_error("kill", Path::new("/proc").join(waiter.pid.to_string())))?;
    }
    Ok(())
}

/// Leaves the mounts of the container that has ended, in which LXC's monitor and what it runs are: a start from there would mount
/// layers where nobody else sees them. Process 1 has the host's, if it sees this installation where this process does. Only for a
/// process with one thread.
pub fn enter_hosts_mounts(paths: &Paths) -> std::io::Result<()> {
    let root = |of: &Path| fs::metadata(of).map(|status| (status.dev(), status.ino()));
    let seen_by_init = Path::new("/proc/1/root").join(paths.root().strip_prefix("/").unwrap_or(paths.root()));
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt"));
    if namespace("self")? == namespace("1")? || root(&seen_by_init)? != root(paths.root())? {
        return Ok(());
    }
    // What is beside it is looked for there.
    programs::own();
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&File::open("/proc/1/ns/mnt")?),
        Some(LinkNameSpaceType::Mount),
    )?;
    std::env::set_current_dir("/")
}
