//! Makes a host fit for containers, and undoes that: directories, subordinate ids, skeletons, the store of
//! reservations, the network. Each step looks first and does only what is missing, so a setup that was
//! killed is finished by the next.

mod account_file;
mod change;
mod directories;
mod ids;

use std::{
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use appcontainers_sys::lxc;
use ipnetwork::Ipv4Network;
use rustix::process::geteuid;

use crate::{
    Paths,
    network::{
        HostNetwork, HostNetworkError, NoSubnet, PoolSettings, ReservationError, ReservationStore, Reservations,
        RoutesError, SubordinateIdsError, default_subnet, host_networks,
    },
    output::gone,
    program::ProgramError,
    runtime::{self, apparmor, cgroup},
    skeleton::{self, SkeletonError},
    state::{HostLock, LockError, StateError},
};

pub use change::Change;
pub(crate) use directories::{layout, mode_of};
use ids::AccountFiles;
pub(crate) use ids::wide;

/// How long the undoing waits for those who read the output of containers that are gone.
const READERS_END: Duration = Duration::from_secs(2);

/// How to set up.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, Service, SetupOptions};
///
/// let service = Service::open(Paths::from_env()?);
/// for change in service.set_up(&SetupOptions { subnet: Some("10.44.0.0/16".parse()?) })? {
///     println!("{change:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetupOptions {
    /// The containers' network; one that is free is chosen if there is none yet.
    pub subnet: Option<Ipv4Network>,
}

/// Why a host could not be set up, or that be undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Not root.
    #[error("only root can set this host up; try: sudo appc setup")]
    NotRoot,
    /// A directory can't be made or its mode set.
    #[error("cannot set up directory {}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `/etc/subuid` or `/etc/subgid` can't be edited.
    #[error("cannot edit {} (nor, maybe, its .lock beside it)", path.display())]
    Accounts {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The cgroups of containers that are gone can't be removed.
    #[error("cannot remove cgroup {name}")]
    Cgroup {
        /// Its name below every hierarchy's root.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// All ids are somebody's.
    #[error("no 65536 ids in a row are free in /etc/subuid and /etc/subgid; remove an entry that is not needed")]
    NoFreeIds,
    /// `/etc/subuid` or `/etc/subgid` can't be read.
    #[error(transparent)]
    SubordinateIds(#[from] SubordinateIdsError),
    /// A subnet that is no use.
    #[error("{subnet} cannot be the containers' network: {why}")]
    BadSubnet {
        /// What was asked for.
        subnet: Ipv4Network,
        /// Why not.
        why: String,
    },
    /// No subnet is free.
    #[error(transparent)]
    NoSubnet(#[from] NoSubnet),
    /// The host's routes are not known.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// Skeletons.
    #[error(transparent)]
    Skeleton(#[from] SkeletonError),
    /// Reservations.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    /// The network.
    #[error(transparent)]
    Network(#[from] HostNetworkError),
    /// The containers' AppArmor profile can't be loaded.
    #[error("cannot load the AppArmor profile of containers")]
    Profile(#[from] ProgramError),
    /// The host's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The record of the setup.
    #[error(transparent)]
    State(#[from] StateError),
    /// Setup can't be undone under containers.
    #[error("{count} of this host's containers remain, {first} one of them; remove them first: appc ls, appc rm NAME")]
    ContainersExist {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
}

/// Sets up what is missing and says what that was; nothing if there was nothing to do.
pub fn set_up(paths: &Paths, options: &SetupOptions) -> Result<Vec<Change>, SetupError> {
    if !geteuid().is_root() {
        return Err(SetupError::NotRoot);
    }
    let mut changes = directories::set_up(paths)?;
    let lock = HostLock::acquire(paths)?;
    let current = match Reservations::read(paths) {
        Ok(reservations) => Some(reservations),
        Err(ReservationError::NotSetUp { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    // Checked before anything outside our own directory is changed.
    let subnet = choose_subnet(current.as_ref(), options.subnet)?;
    let pool = current.as_ref().map(|reservations| reservations.settings().id_pool);
    let (id_pool, granted) = ids::set_up(paths, &AccountFiles::of_host(), pool)?;
    changes.extend(granted);
    changes.extend(skeleton::install_defaults(paths)?);
    let mut settings = PoolSettings::new(subnet, id_pool);
    if let Some(current) = &current {
        // What containers have in IPv6 stays.
        settings.subnet6 = current.settings().subnet6.or(settings.subnet6);
    }
    if current.as_ref().map(Reservations::settings) != Some(&settings) {
        ReservationStore::create(paths, &lock, settings.clone())?;
        changes.push(Change::SubnetChosen { subnet });
    }
    changes.extend(HostNetwork::set_up(paths, &lock, &settings)?.1);
    changes.extend(load_profile()?);
    Ok(changes)
}

/// Gives the kernel the containers' AppArmor profile, if it is one that wants profiles and has it not.
fn load_profile() -> Result<Option<Change>, SetupError> {
    if !apparmor::is_enabled() || apparmor::is_loaded() != Some(false) {
        return Ok(None);
    }
    apparmor::PARSER.run(&["--replace", "--write-cache", apparmor::PROFILE_FILE], "")?;
    Ok(Some(Change::ProfileLoaded { profile: apparmor::PROFILE }))
}

/// [`set_up`], if something that each start needs is missing: what a command calls that can't know
/// whether this host was ever set up, or was booted since. Looks for some 60 µs where nothing is missing.
pub fn ensure(paths: &Paths) -> Result<Vec<Change>, SetupError> {
    let is_up = paths.resources().exists() && paths.build_cache().exists() && HostNetwork::find(paths)?.is_some();
    if is_up { Ok(Vec::new()) } else { set_up(paths, &SetupOptions::default()) }
}

/// Brings back what is gone of a network that was set up since the host's boot.
pub(crate) fn restore_network(paths: &Paths) -> Result<Vec<Change>, SetupError> {
    if !geteuid().is_root() {
        return Ok(Vec::new());
    }
    let changes = HostNetwork::restore(paths)?;
    for change in &changes {
        tracing::info!("{change}");
    }
    Ok(changes)
}

/// Takes back what [`set_up`] changed. Images, volumes, secrets, the user's skeletons and events stay.
pub fn undo(paths: &Paths) -> Result<Vec<Change>, SetupError> {
    if !geteuid().is_root() {
        return Err(SetupError::NotRoot);
    }
    let mut changes = Vec::new();
    if !paths.root().exists() {
        return Ok(changes);
    }
    let lock = HostLock::acquire(paths)?;
    refuse_containers(paths)?;
    let parent = cgroup::parent(paths);
    cgroup::remove_when_empty(&parent, runtime::LXC_MONITOR_END)
        .map_err(|source| SetupError::Cgroup { name: parent, source })?;
    changes.extend(unmount_layers(paths)?);
    let (torn_down, errors) = HostNetwork::tear_down(paths, &lock);
    changes.extend(torn_down);
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    changes.extend(ids::undo(paths, &AccountFiles::of_host())?);
    let skeletons = paths.skeletons();
    for path in [
        skeletons.join("default"),
        paths.resources(),
        paths.resources().with_extension("journal"),
        paths.setup_record(),
    ] {
        changes.extend(remove(path)?);
    }
    delete_gone(paths)?;
    // The user's skeletons stay if there are any.
    let _ = fs::remove_dir(skeletons.join("user"));
    changes.extend(directories::undo(paths)?);
    remove(lxc::lock_directory(paths.run()))?;
    // With the lock that is still held: whoever waits for it finds its file gone and begins anew.
    remove(paths.run().to_owned())?;
    Ok(changes)
}

fn refuse_containers(paths: &Paths) -> Result<(), SetupError> {
    let mut names: Vec<String> = match Reservations::read(paths) {
        Ok(reservations) => reservations.list().into_iter().map(|one| one.name.to_string()).collect(),
        Err(ReservationError::NotSetUp { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for entry in fs::read_dir(paths.containers()).into_iter().flatten().flatten() {
        // What is left of a removed one, for those who still read its output, is no container.
        names.extend(entry.file_name().into_string().ok().filter(|name| !name.starts_with(gone::PREFIX)));
    }
    names.sort();
    names.dedup();
    match names.first() {
        Some(first) => Err(SetupError::ContainersExist { count: names.len(), first: first.clone() }),
        None => Ok(()),
    }
}

/// What starts have mounted for all containers that may come.
fn unmount_layers(paths: &Paths) -> Result<Vec<Change>, SetupError> {
    let mut changes = Vec::new();
    for entry in fs::read_dir(paths.layer_mounts()).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(digest) = format!("sha256:{}", entry.file_name().to_string_lossy()).parse() else { continue };
        match runtime::unmount_layer(paths, &digest) {
            Ok(true) => changes.push(Change::Removed { path }),
            Ok(false) => {}
            Err(source) => return Err(SetupError::Directory { path, source }),
        }
    }
    Ok(changes)
}

/// Deletes what is left of removed containers, and of layers. Monitors and readers may take a moment to let go of it; those that take
/// longer delete it themselves.
fn delete_gone(paths: &Paths) -> Result<(), SetupError> {
    for path in runtime::discarded(paths) {
        remove(path)?;
    }
    let entries = fs::read_dir(paths.containers()).into_iter().flatten().flatten();
    let gone = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(gone::PREFIX.as_bytes()));
    let until = Instant::now() + READERS_END;
    for path in gone.map(|entry| entry.path()) {
        let failed = |source| SetupError::Directory { path: path.clone(), source };
        while !gone::delete_unless_read(&path).map_err(failed)? && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

fn remove(path: PathBuf) -> Result<Option<Change>, SetupError> {
    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    match removed {
        Ok(()) => Ok(Some(Change::Removed { path })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SetupError::Directory { path, source }),
    }
}

/// The subnet that is asked for if it will do, else the current one, else a free one.
fn choose_subnet(current: Option<&Reservations>, wanted: Option<Ipv4Network>) -> Result<Ipv4Network, SetupError> {
    let now = current.map(|reservations| reservations.settings().subnet);
    match (wanted, now) {
        (None, Some(now)) => Ok(now),
        (Some(wanted), Some(now)) if wanted == now => Ok(now),
        (None, None) => Ok(default_subnet(&host_networks()?)?),
        (Some(wanted), now) => {
            let mut taken = host_networks()?;
            // Our own bridge and containers are no reason against a network around them.
            taken.retain(|network| !now.is_some_and(|now| now.contains(network.network())));
            let held = current.map(Reservations::list).unwrap_or_default();
            let outside = held.iter().find(|one| !wanted.contains(one.ip));
            let outside = outside.map(|one| format!("container {} has {}; remove it first", one.name, one.ip));
            check_subnet(wanted, &taken)
                .and_then(|()| outside.map_or(Ok(()), Err))
                .map_err(|why| SetupError::BadSubnet { subnet: wanted, why })?;
            Ok(wanted)
        }
    }
}

fn check_subnet(wanted: Ipv4Network, taken: &[Ipv4Network]) -> Result<(), String> {
    let address = wanted.network();
    if wanted.ip() != address {
        return Err(format!("bits are set behind its prefix; did you mean {address}/{}?", wanted.prefix()));
    }
    if !(8..=29).contains(&wanted.prefix()) {
        return Err("its prefix must be between /8 and /29".to_owned());
    }
    if address.is_loopback() || address.is_multicast() || address.is_link_local() || address.octets()[0] == 0 {
        return Err("its addresses have another meaning".to_owned());
    }
    match taken.iter().find(|network| network.overlaps(wanted)) {
        Some(network) => Err(format!("the host has a route or an address there: {network}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_that_can_not_work_is_refused_with_the_reason() {
        let taken: Vec<Ipv4Network> = vec!["192.168.1.0/24".parse().unwrap()];
        for (bad, why) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("10.1.0.0/30", "/29"),
            ("0.0.0.0/4", "prefix"),
            ("127.0.0.0/16", "another meaning"),
            ("169.254.0.0/16", "another meaning"),
            ("192.168.0.0/16", "192.168.1.0/24"),
        ] {
            let error = check_subnet(bad.parse().unwrap(), &taken).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert_eq!(check_subnet("10.99.0.0/16".parse().unwrap(), &taken), Ok(()));
    }
}
