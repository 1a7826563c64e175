//! Clearing up after a start: what the container left on the host, and an ephemeral container itself.
//!
//! Whoever finds a start ended may do it, with the container's lock held: the reaper that LXC's monitor runs, the
//! command that stopped the container, or the next command at all. Doing it twice is harmless.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use appcontainers_sys::{lxc, mount};

use super::{
    RuntimeError, StartMode, StartRecord, Status, apparmor, boot, cgroup,
    error::host_error,
    limits,
    overlay_disk::remove_disk,
    rootfs::{is_mount_point_of_start, overlay_dir},
    scope,
    start::start_cgroup,
    start_record::START_RECORD,
};
use crate::{
    ContainerName, Paths, event, gateway, life,
    network::{
        ReservationError, ReservationStore,
        policy::{self, NetworkPolicy, PolicyChange, PolicyError},
    },
    output::gone,
    record::{ContainerRecord, OverlayKind},
    session,
    state::{ContainerLock, Durability, HostLock, StateError},
};

/// How long LXC's monitor may take to end after its hook.
pub(crate) const LXC_MONITOR_END: Duration = Duration::from_secs(10);

/// Clears up after the container's last start if that has ended. `only` names the start that the caller means:
/// another one is left alone. Returns the container's status afterwards.
pub fn finish(paths: &Paths, lock: &ContainerLock, only: Option<&str>) -> Result<Status, RuntimeError> {
    let name = lock.name();
    let Some(start) = StartRecord::load(paths, name)? else {
        if let Some(record) = ContainerRecord::load(paths, name)?
            && is_gone(paths, &record)?
        {
            remove(paths, lock)?;
        }
        return Ok(Status::Stopped);
    };
    if only.is_some_and(|id| id != start.id) {
        return Ok(start.status());
    }
    match start.status() {
        Status::Ended => {}
        status => return Ok(status),
    }
    if start.init.is_none() {
        // The monitor died while liblxc worked: what came of that is not known.
        destroy_cgroup(&start.cgroup).map_err(host_error("remove cgroup", &start.cgroup))?;
    }
    if start.mode == StartMode::Full {
        event::note(paths, name, "die", &[]);
        policy::deactivate(paths, name)?;
        if let Some(interface) = &start.host_interface
            && let Err(error) = limits::forget_network(interface)
        {
            // It limits an interface that is gone.
            tracing::warn!(%name, %error, "a table of the firewall is left");
        }
    }
    apparmor::forget(name, &start.id);
    let record = ContainerRecord::load(paths, name)?;
    if start.mode == StartMode::Full
        && let Some(record) = &record
    {
        life::ended(paths, lock, record, &start)?;
    }
    let is_of_this_boot = start.boot == boot::id();
    if record.is_some_and(|record| goes_with(&record, &start) || (!is_of_this_boot && record.boot.is_some())) {
        remove(paths, lock)?;
    } else {
        remove_run_directory(paths, name)?;
    }
    Ok(Status::Stopped)
}

/// Whether the container has gone with the end of its start, or of the host's, or was never made to its end: its files may
/// still be there.
pub(crate) fn is_gone(paths: &Paths, record: &ContainerRecord) -> Result<bool, StateError> {
    if record.unfinished {
        return Ok(true);
    }
    if record.overlay == OverlayKind::Raw {
        return Ok(false);
    }
    if record.boot.as_ref().is_some_and(|boot| *boot != boot::id()) {
        return Ok(true);
    }
    let start = StartRecord::load(paths, &record.name)?;
    Ok(start.is_some_and(|start| goes_with(record, &start) && start.status() == Status::Ended))
}

/// Ends what is in a start's cgroup, and removes it: again and again, for LXC's monitor may still be about to enter it, or busy with
/// clearing up itself.
fn destroy_cgroup(cgroup: &str) -> io::Result<()> {
    let until = Instant::now() + LXC_MONITOR_END;
    loop {
        match cgroup::destroy(cgroup) {
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            destroyed => return destroyed,
        }
    }
}

fn goes_with(record: &ContainerRecord, start: &StartRecord) -> bool {
    start.mode == StartMode::Full && record.overlay == OverlayKind::Tmp && !record.survives_stop && !record.for_build
}

/// What LXC's monitor has run when a container is gone: clears up after that start, then, when LXC's monitor has ended
/// too, removes the start's cgroups.
pub fn reap(paths: &Paths, name: &ContainerName, start_id: &str) -> Result<(), RuntimeError> {
    scope::leave(paths).map_err(host_error("leave", "the cgroup of LXC's monitor"))?;
    let lock = ContainerLock::acquire(paths, name)?;
    let finished = finish_start(paths, &lock, start_id);
    drop(lock);
    let cgroup = start_cgroup(paths, name, start_id);
    cgroup::remove_when_empty(&cgroup, LXC_MONITOR_END).map_err(host_error("remove cgroup", cgroup))?;
    finished
}

fn finish_start(paths: &Paths, lock: &ContainerLock, start_id: &str) -> Result<(), RuntimeError> {
    finish(paths, lock, Some(start_id))?;
    if ContainerRecord::load(paths, lock.name())?.is_none() {
        // Removed, perhaps before this one asked for the lock: its file is of no use to anybody.
        lock.remove()?;
    }
    Ok(())
}

/// Removes a container that does not run: configuration, log, overlay, run directory, reservation and, last, the lock.
/// With a lock that is removed already, it does nothing.
pub(crate) fn remove(paths: &Paths, lock: &ContainerLock) -> Result<(), RuntimeError> {
    if !lock.is_current()? {
        return Ok(());
    }
    let name = lock.name();
    forget_rules(paths, name)?;
    if let Err(error) = life::cancel(paths, lock, Durability::Volatile, |_| {}) {
        // Who waits to start it again finds nothing.
        tracing::warn!(%name, %error, "cannot take a restart back");
    }
    let directory = paths.container(name);
    // What need not survive a power cut need not be removed for good either: holding the host's lock over a flush
    // keeps all other commands waiting.
    let durability = match ContainerRecord::load(paths, name) {
        Ok(Some(record)) => record.overlay.durability(),
        Ok(None) | Err(_) => Durability::Durable,
    };
    remove_disk(paths, name)?;
    gone::retire(&directory).map_err(host_error("remove", &directory))?;
    for kind in [OverlayKind::Raw, OverlayKind::Tmp] {
        remove_tree(&overlay_dir(paths, name, kind))?;
    }
    remove_run_directory(paths, name)?;
    session::forget(paths, Some(name)).map_err(host_error("forget the container in", paths.sessions()))?;
    gateway::forget(paths, name);
    let host = HostLock::acquire(paths)?;
    match ReservationStore::open(paths, &host)?.release(name, durability) {
        Ok(()) => event::note(paths, name, "remove", &[]),
        Err(ReservationError::Unknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Who waits for the lock looks whether its file is still there. From here on it excludes nobody.
    remove_tree(&paths.monitor_lock(name))?;
    Ok(lock.remove()?)
}

/// Nobody may find the container's rights under its name when another one has that.
fn forget_rules(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    if !NetworkPolicy::exists(paths, name) {
        return Ok(());
    }
    let host = HostLock::acquire(paths)?;
    let mut change = PolicyChange::begin(paths, &host);
    match change.forget(name) {
        // Its rules can't be read: what names it elsewhere means a container of its MAC, and there will be none.
        Err(PolicyError::State(error)) => {
            tracing::warn!(%name, %error, "the container's network rules are left to themselves");
            Ok(())
        }
        // Removed halfway before.
        Err(PolicyError::Reservation(ReservationError::Unknown { .. })) => Ok(()),
        forgotten => Ok(forgotten.and_then(|()| change.commit())?),
    }
}

fn remove_run_directory(paths: &Paths, name: &ContainerName) -> Result<(), RuntimeError> {
    let directory = paths.container_run(name);
    remove_directory(lxc::lock_directory(&directory))?;
    let mut entries: Vec<_> = fs::read_dir(&directory).into_iter().flatten().flatten().collect();
    // The record goes last: while it is there, the next command comes here again.
    entries.sort_by_key(|entry| entry.file_name() == START_RECORD);
    for entry in entries {
        let path = entry.path();
        // Seen from LXC's monitor, the container's root and layers are still mounted here.
        while mount::is_mount_point(&path).map_err(host_error("look at", &path))? {
            mount::unmount_lazily(&path).map_err(host_error("unmount", &path))?;
        }
        if is_mount_point_of_start(&entry.file_name()) {
            // Never with what is in it: that would be the container's files, if ever it were mounted.
            fs::remove_dir(&path).map_err(host_error("remove", path))?;
        } else {
            remove_tree(&path)?;
        }
    }
    remove_directory(directory)
}

fn remove_directory(path: PathBuf) -> Result<(), RuntimeError> {
    match fs::remove_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(host_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a file or a directory with all in it; nothing there is fine. Symbolic links are not followed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), RuntimeError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(status) if status.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(host_error("remove", path)),
    }
}
