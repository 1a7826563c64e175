//! What containers that are gone may have left and `gc` does not take: reservations that were lost, and
//! processes and interfaces of no start.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    ContainerName, Paths,
    network::{ReservationError, Reservations, veth_prefix},
    record::ContainerRecord,
    runtime::{StartRecord, cgroup},
    state::{ContainerLock, LockError, StateError},
};

/// How long what a stopped container left may take to go: a stop answers before the kernel has removed it.
const TEARDOWN: Duration = Duration::from_millis(500);

/// Why the leftovers are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeftoversError {
    #[error("cannot list {}", path.display())]
    List {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Reservation(#[from] ReservationError),
}

/// Containers with a configuration and without a reservation.
pub(super) fn unreserved(paths: &Paths) -> Result<Vec<ContainerName>, LeftoversError> {
    let mut found = Vec::new();
    let reserved = reserved(paths)?;
    for name in names_in(&paths.containers())?.difference(&reserved) {
        // A container that is being made or removed is locked; what is not is looked at again.
        let Some(_lock) = ContainerLock::try_acquire(paths, name)? else { continue };
        if ContainerRecord::load(paths, name)?.is_some() && !self::reserved(paths)?.contains(name) {
            found.push(name.clone());
        }
    }
    Ok(found)
}

/// Cgroups and interfaces that are named as containers' and that no container's start has.
pub(super) fn unowned(paths: &Paths) -> Result<Vec<String>, LeftoversError> {
    // Listed before the records of starts: what a record names was recorded before it was made.
    let mut unowned = kernel_objects(paths)?;
    let mut owned = HashSet::new();
    for name in names_in(&paths.run().join("containers"))? {
        if let Some(start) = StartRecord::load(paths, &name)? {
            owned.insert(start.cgroup);
            owned.extend(start.host_interface);
        }
    }
    unowned.retain(|name| !owned.contains(name));
    let begin = Instant::now();
    while !unowned.is_empty() && begin.elapsed() < TEARDOWN {
        std::thread::sleep(Duration::from_millis(10));
        let there = kernel_objects(paths)?;
        unowned.retain(|name| there.contains(name));
    }
    Ok(unowned)
}

fn kernel_objects(paths: &Paths) -> Result<Vec<String>, LeftoversError> {
    Ok([cgroups(paths)?, interfaces(paths)?].concat())
}

/// The cgroups of this state directory's starts that have processes; empty ones are for `gc`.
fn cgroups(paths: &Paths) -> Result<Vec<String>, LeftoversError> {
    let parent = cgroup::parent(paths);
    let mut names = BTreeSet::new();
    for directory in cgroup::directories(&parent) {
        // A start's has a name and an id; others are those of monitors.
        let starts = list(&directory)?.into_iter().filter(|name| name.contains('.'));
        let children = starts.filter(|name| directory.join(name).is_dir());
        names.extend(children.map(|name| format!("{parent}/{name}")));
    }
    names.retain(|name| !cgroup::processes(name).is_empty());
    Ok(names.into_iter().collect())
}

/// The host's ends of containers' veths, in this network namespace.
fn interfaces(paths: &Paths) -> Result<Vec<String>, LeftoversError> {
    let path = Path::new("/proc/net/dev");
    let text = fs::read_to_string(path).map_err(cannot_list(path))?;
    let prefix = veth_prefix(paths);
    // Two lines of headings, then `  NAME: numbers`.
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned());
    Ok(names.filter(|name| name.starts_with(&prefix)).collect())
}

fn reserved(paths: &Paths) -> Result<BTreeSet<ContainerName>, LeftoversError> {
    match Reservations::read(paths) {
        Ok(reservations) => Ok(reservations.list().into_iter().map(|one| one.name).collect()),
        Err(ReservationError::NotSetUp { .. }) => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}

fn names_in(directory: &Path) -> Result<BTreeSet<ContainerName>, LeftoversError> {
    Ok(list(directory)?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The names in a directory; a missing one has none.
fn list(directory: &Path) -> Result<Vec<String>, LeftoversError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot_list(directory))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn cannot_list(path: &Path) -> impl Fn(io::Error) -> LeftoversError {
    move |source| LeftoversError::List { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        network::{IdPool, PoolSettings, ReservationStore, ReserveOptions},
        setup,
        state::{Durability, HostLock, create_directory},
    };

    #[test]
    fn a_container_whose_reservation_was_lost_is_found_and_one_being_made_is_not() {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path().join("root"), place.path().join("run"));
        for (path, mode) in setup::layout(&paths) {
            create_directory(&path, mode).unwrap();
        }
        let lock = HostLock::acquire(&paths).unwrap();
        let id_pool = IdPool { base: 1 << 30, count: 1 << 20 };
        let settings = PoolSettings::new("10.1.0.0/24".parse().unwrap(), id_pool);
        let mut store = ReservationStore::create(&paths, &lock, settings).unwrap();
        for name in ["kept", "lost", "busy"] {
            let name: ContainerName = name.parse().unwrap();
            fs::create_dir(paths.container(&name)).unwrap();
            let record = ContainerRecord::example(&name);
            record.store(&paths).unwrap();
        }
        let options = ReserveOptions { privileged: true, durability: Durability::Volatile };
        store.reserve(&"kept".parse().unwrap(), options).unwrap();
        let _busy = ContainerLock::acquire(&paths, &"busy".parse().unwrap()).unwrap();
        assert_eq!(unreserved(&paths).unwrap(), ["lost".parse().unwrap()]);
    }
}
