//! What killed commands and dead containers left: found here, removed by `appc gc`.
//!
//! A command that is under way holds its container's lock, so what is locked is nobody's leftover; what is
//! not is looked at again under the lock before it is called one.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    ContainerName, Paths,
    container::ContainerRecord,
    network::{ReservationError, Reservations, veth_prefix},
    runtime::{StartRecord, Status, cgroup},
    setup,
    state::{ContainerLock, LockError, StateError},
};

/// What kind of thing was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LeftoverKind {
    /// A reservation without a container.
    Reservation,
    /// A container's directory without a configuration or a reservation.
    Container,
    /// A writable layer without a container.
    Overlay,
    /// The traces of a start that has ended, or of a container that is gone.
    Start,
    /// A cgroup of no start.
    Cgroup,
    /// The host's end of a veth of no start.
    Interface,
    /// A file that was not written to its end.
    TemporaryFile,
}

/// A thing that was left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// A container's, cgroup's or interface's name, or a path.
    pub name: String,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LeftoverKind::Reservation => "reservation",
            LeftoverKind::Container => "container directory",
            LeftoverKind::Overlay => "overlay",
            LeftoverKind::Start => "ended start",
            LeftoverKind::Cgroup => "cgroup",
            LeftoverKind::Interface => "interface",
            LeftoverKind::TemporaryFile => "temporary file",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// Why the leftovers are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftoversError {
    /// A directory can't be listed.
    #[error("cannot list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A container's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A container's configuration or start.
    #[error(transparent)]
    State(#[from] StateError),
    /// The reservations.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
}

/// How long what a stopped container left may take to go: a stop answers before the kernel has removed it.
const TEARDOWN: Duration = Duration::from_millis(500);

/// All that was left. Changes nothing.
pub fn find(paths: &Paths) -> Result<Vec<Leftover>, LeftoversError> {
    // Listed before the records of starts: what a record names was recorded before it was made.
    let (cgroups, interfaces) = (cgroups(paths)?, interfaces(paths)?);
    let mut found = Vec::new();
    let mut live = HashSet::new();
    let reserved = reserved(paths)?;
    for name in names(paths, &reserved)? {
        if !of_container(paths, &name, reserved.contains(&name))?.is_empty() {
            let is_new_lock = !paths.container_lock(&name).exists();
            if let Some(lock) = ContainerLock::try_acquire(paths, &name)? {
                let is_reserved = self::reserved(paths)?.contains(&name);
                found.extend(of_container(paths, &name, is_reserved)?);
                // A lock that was made for this look goes again.
                if is_new_lock {
                    lock.remove()?;
                }
            }
        }
        if let Some(start) = StartRecord::load(paths, &name)? {
            live.insert(start.cgroup);
            live.extend(start.host_interface);
        }
    }
    let mut unowned: Vec<_> =
        cgroups.into_iter().chain(interfaces).filter(|leftover| !live.contains(&leftover.name)).collect();
    wait_for_teardown(paths, &mut unowned)?;
    found.extend(unowned);
    found.extend(temporary_files(paths)?);
    found.sort();
    Ok(found)
}

fn wait_for_teardown(paths: &Paths, unowned: &mut Vec<Leftover>) -> Result<(), LeftoversError> {
    let begin = Instant::now();
    while !unowned.is_empty() && begin.elapsed() < TEARDOWN {
        std::thread::sleep(Duration::from_millis(10));
        let there = [cgroups(paths)?, interfaces(paths)?].concat();
        unowned.retain(|leftover| there.contains(leftover));
    }
    Ok(())
}

/// Every name that a container may have left something under.
fn names(paths: &Paths, reserved: &HashSet<ContainerName>) -> Result<BTreeSet<ContainerName>, LeftoversError> {
    let mut names: BTreeSet<_> = reserved.iter().cloned().collect();
    let run = paths.run().join("containers");
    for directory in [paths.containers(), paths.raw_overlays(), paths.tmp_overlays(), run] {
        names.extend(list(&directory)?.iter().filter_map(|name| name.parse::<ContainerName>().ok()));
    }
    Ok(names)
}

fn reserved(paths: &Paths) -> Result<HashSet<ContainerName>, LeftoversError> {
    match Reservations::read(paths) {
        Ok(reservations) => Ok(reservations.list().into_iter().map(|one| one.name).collect()),
        Err(ReservationError::NotSetUp { .. }) => Ok(HashSet::new()),
        Err(error) => Err(error.into()),
    }
}

/// What is left of one container; nothing if it is whole and its last start was cleared up after.
fn of_container(paths: &Paths, name: &ContainerName, is_reserved: bool) -> Result<Vec<Leftover>, LeftoversError> {
    let record = ContainerRecord::load(paths, name)?;
    let start = StartRecord::load(paths, name)?;
    let is_container = record.is_some() && is_reserved;
    let has_overlay =
        [paths.raw_overlays(), paths.tmp_overlays()].iter().any(|overlays| overlays.join(name.as_str()).exists());
    let has_ended = start.is_some_and(|start| start.status() == Status::Ended);
    let kinds = [
        (LeftoverKind::Reservation, is_reserved && record.is_none()),
        (LeftoverKind::Container, !is_container && paths.container(name).exists()),
        (LeftoverKind::Overlay, !is_container && has_overlay),
        (LeftoverKind::Start, has_ended || (!is_container && paths.container_run(name).exists())),
    ];
    let of_kind = |kind| Leftover { kind, name: name.to_string() };
    Ok(kinds.into_iter().filter(|(_, is_left)| *is_left).map(|(kind, _)| of_kind(kind)).collect())
}

/// The cgroups of this state directory's starts, each once for all hierarchies.
fn cgroups(paths: &Paths) -> Result<Vec<Leftover>, LeftoversError> {
    let parent = format!("appcontainers-{}", paths.tag());
    let mut names = BTreeSet::new();
    for directory in cgroup::directories(&parent) {
        let children = list(&directory)?.into_iter().filter(|name| directory.join(name).is_dir());
        names.extend(children.map(|name| format!("{parent}/{name}")));
    }
    Ok(names.into_iter().map(|name| Leftover { kind: LeftoverKind::Cgroup, name }).collect())
}

/// The host's ends of containers' veths, in this network namespace.
fn interfaces(paths: &Paths) -> Result<Vec<Leftover>, LeftoversError> {
    let path = Path::new("/proc/net/dev");
    let text = fs::read_to_string(path).map_err(cannot_list(path))?;
    let prefix = veth_prefix(paths);
    // Two lines of headings, then `  NAME: numbers`.
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned());
    let ours = names.filter(|name| name.starts_with(&prefix));
    Ok(ours.map(|name| Leftover { kind: LeftoverKind::Interface, name }).collect())
}

/// Temporaries of dead processes: `.NAME.PID-NUMBER.tmp`.
fn temporary_files(paths: &Paths) -> Result<Vec<Leftover>, LeftoversError> {
    let mut directories: Vec<_> = setup::layout(paths).into_iter().map(|(path, _)| path).collect();
    directories.extend(list(&paths.containers())?.into_iter().map(|name| paths.containers().join(name)));
    let mut found = Vec::new();
    for directory in directories.iter().filter(|directory| directory.is_dir()) {
        let abandoned = list(directory)?
            .into_iter()
            .filter(|name| temporary_of(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()));
        found.extend(abandoned.map(|name| directory.join(name).display().to_string()));
    }
    Ok(found.into_iter().map(|name| Leftover { kind: LeftoverKind::TemporaryFile, name }).collect())
}

/// The pid of the process whose temporary has this name.
fn temporary_of(name: &str) -> Option<u32> {
    let (_, owner) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    owner.split_once('-')?.0.parse().ok()
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
        state::{Durability, HostLock, create_directory},
    };

    fn place() -> (tempfile::TempDir, Paths) {
        let place = tempfile::tempdir().unwrap();
        let paths = Paths::new(place.path().join("root"), place.path().join("run"));
        for (path, mode) in setup::layout(&paths) {
            create_directory(&path, mode).unwrap();
        }
        let lock = HostLock::acquire(&paths).unwrap();
        let id_pool = IdPool { base: 1 << 30, count: 1 << 20 };
        let settings = PoolSettings::new("10.1.0.0/24".parse().unwrap(), id_pool);
        let mut store = ReservationStore::create(&paths, &lock, settings).unwrap();
        let options = ReserveOptions { privileged: true, durability: Durability::Volatile };
        store.reserve(&"reserved".parse().unwrap(), options).unwrap();
        (place, paths)
    }

    fn found(paths: &Paths) -> Vec<(LeftoverKind, String)> {
        find(paths).unwrap().into_iter().map(|leftover| (leftover.kind, leftover.name)).collect()
    }

    #[test]
    fn what_a_killed_command_left_is_found_and_what_is_locked_is_not() {
        let (_place, paths) = place();
        fs::create_dir(paths.container(&"dead".parse().unwrap())).unwrap();
        fs::create_dir(paths.tmp_overlays().join("gone")).unwrap();
        let lost = [
            (LeftoverKind::Reservation, "reserved".to_owned()),
            (LeftoverKind::Container, "dead".to_owned()),
            (LeftoverKind::Overlay, "gone".to_owned()),
        ];
        assert_eq!(found(&paths), lost);
        assert_eq!(list(&paths.locks()).unwrap(), [""; 0], "locks were left");
        let lock = ContainerLock::acquire(&paths, &"dead".parse().unwrap()).unwrap();
        assert_eq!(found(&paths), [lost[0].clone(), lost[2].clone()]);
        drop(lock);
        assert_eq!(found(&paths), lost);
    }

    #[test]
    fn a_dead_process_temporary_is_found_and_a_live_ones_is_not() {
        let (_place, paths) = place();
        let lock = ContainerLock::acquire(&paths, &"reserved".parse().unwrap()).unwrap();
        let live = format!(".x.json.{}-3.tmp", std::process::id());
        // No pid is this large (proc(5), pid_max).
        for name in [".x.json.4194305-3.tmp", &live, "x.tmp", ".tmp"] {
            fs::write(paths.bases().join(name), "").unwrap();
        }
        let path = paths.bases().join(".x.json.4194305-3.tmp").display().to_string();
        assert_eq!(found(&paths), [(LeftoverKind::TemporaryFile, path)]);
        drop(lock);
    }
}
