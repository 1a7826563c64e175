//! What is in the table only while a container runs: that it is a member of the network, and its published ports.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    NetworkPolicy,
    change::PolicyError,
    grant::{Addresses, Grant, grants},
    rule::Peer,
};
use crate::{
    ContainerName, Paths,
    error::chain,
    network::{
        HostNetwork, MacAddress, NetworkMode, PoolSettings, Reservation, Reservations, bridge, bridge_port, find,
        firewall::{self, Element},
    },
    state::{HostLock, StateError, create_directory},
};

/// In a container's run directory while it is on the network; in it, the name of the host's end of its interface, and
/// the mode if it is not the default.
const MARK: &str = "network.active";

impl Peer {
    /// The container that holds a reservation.
    pub fn of(reservation: &Reservation) -> Self {
        Self { name: reservation.name.clone(), mac: reservation.mac }
    }
}

/// How a container that runs is on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Attachment {
    /// The host's end of its interface.
    pub(in crate::network) interface: String,
    /// What that is.
    pub(in crate::network) mode: NetworkMode,
    /// Where the host gets its packets: at that end, or at the bridge that this is a port of.
    pub(in crate::network) arrival: String,
}

impl Attachment {
    fn new(paths: &Paths, interface: &str, mode: NetworkMode) -> Self {
        let arrival = if mode == NetworkMode::Bridge { bridge(paths) } else { interface.to_owned() };
        Self { interface: interface.to_owned(), mode, arrival }
    }

    fn text(&self) -> String {
        let mode = if self.mode.is_routed() { String::new() } else { format!(" {}", self.mode.as_str()) };
        self.interface.clone() + &mode
    }

    fn parse(paths: &Paths, text: &str) -> Self {
        let (interface, mode) = match text.split_once(' ') {
            Some((interface, "bridge")) => (interface, NetworkMode::Bridge),
            _ => (text, NetworkMode::Routed),
        };
        Self::new(paths, interface, mode)
    }
}

/// How a container is on the network; none if it is not.
pub(in crate::network) fn attachment(paths: &Paths, name: &ContainerName) -> Option<Attachment> {
    fs::read_to_string(mark(paths, name)).ok().map(|text| Attachment::parse(paths, &text))
}

/// Whether a container is on the network.
pub fn is_active(paths: &Paths, name: &ContainerName) -> bool {
    mark(paths, name).exists()
}

/// The host's end of the interface of a container that is on the network.
pub(crate) fn host_interface(paths: &Paths, name: &ContainerName) -> Option<String> {
    attachment(paths, name).map(|attachment| attachment.interface)
}

/// Puts a container that starts on the network. Takes the host's lock.
pub fn activate(
    paths: &Paths,
    reservation: &Reservation,
    host_interface: &str,
    mode: NetworkMode,
) -> Result<(), PolicyError> {
    let lock = HostLock::acquire(paths)?;
    // Of a command that was killed before it had the lock: the container is another one now.
    remove(&leaving(paths).join(reservation.name.as_str()))?;
    let mark = mark(paths, &reservation.name);
    let attachment = Attachment::new(paths, host_interface, mode);
    fs::write(&mark, attachment.text()).map_err(|source| StateError::Write { path: mark, source })?;
    let (settings, _) = find(paths, &reservation.name)?;
    let new = elements_of_activity(paths, reservation, &settings, &attachment)?;
    match HostNetwork::find(paths)? {
        Some(_) => firewall::change(paths, &BTreeSet::new(), &new)?,
        // Somebody has taken it away since this start began.
        None => drop(HostNetwork::set_up(paths, &lock, &settings)?),
    }
    Ok(())
}

/// Takes a container that has ended off the network; nothing if it was not on it. Takes the host's lock. Where the firewall
/// can't be changed, it is left to the next command.
///
/// A change of the table takes as long for one container as for many, and where many end at once they wait for each other: so each
/// says first that it leaves, and who gets the lock takes off all that have said so.
pub fn deactivate(paths: &Paths, name: &ContainerName) -> Result<(), PolicyError> {
    if !mark(paths, name).exists() {
        return Ok(());
    }
    let note = leaving(paths).join(name.as_str());
    let cannot_write = |path: &Path| {
        let path = path.to_owned();
        move |source| StateError::Write { path, source }
    };
    create_directory(&leaving(paths), 0o700).map_err(cannot_write(&leaving(paths)))?;
    fs::write(&note, "").map_err(cannot_write(&note))?;
    let _lock = HostLock::acquire(paths)?;
    if !note.exists() {
        // Whoever had the lock before has done it.
        return Ok(());
    }
    let noted = fs::read_dir(leaving(paths)).map_err(cannot_write(&leaving(paths)))?.flatten();
    let noted: Vec<ContainerName> = noted.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // A note without a mark is of a command that was killed.
    let names: Vec<_> = noted.iter().filter(|name| mark(paths, name).exists()).collect();
    if let Err(error) = take_off(paths, &names) {
        tracing::warn!(%name, error = %chain(&error), "cannot take the container off the network; the next command will");
        let mark = paths.network_change_mark();
        fs::write(&mark, "").map_err(cannot_write(&mark))?;
    }
    for name in &noted {
        for path in [mark(paths, name), leaving(paths).join(name.as_str())] {
            remove(&path)?;
        }
    }
    Ok(())
}

fn take_off(paths: &Paths, names: &[&ContainerName]) -> Result<(), PolicyError> {
    let mut gone = BTreeSet::new();
    for &name in names {
        let (Some(attachment), (settings, Some(reservation))) = (attachment(paths, name), find(paths, name)?) else {
            continue;
        };
        if attachment.mode == NetworkMode::Bridge {
            bridge_port::detach(paths, reservation.mac, settings.addresses(reservation.ip))
                .map_err(|source| PolicyError::Detach { name: name.clone(), source })?;
        }
        gone.extend(elements_of_activity(paths, &reservation, &settings, &attachment)?);
    }
    if HostNetwork::find(paths)?.is_some() {
        firewall::change(paths, &gone, &BTreeSet::new())?;
    }
    Ok(())
}

/// Has a file by the name of each container that waits for the host's lock to be taken off the network.
fn leaving(paths: &Paths) -> PathBuf {
    paths.run().join("leaving")
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StateError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Lets the host's own programs reach what a running container publishes at 127.0.0.1, too: the kernel drops packets from there
/// that leave the host unless an interface has `route_localnet` (ip-sysctl). Nothing if it publishes nothing, or does not run.
pub fn admit_loopback(paths: &Paths, name: &ContainerName) -> Result<(), PolicyError> {
    let Some(Attachment { arrival, .. }) = attachment(paths, name) else { return Ok(()) };
    if NetworkPolicy::load(paths, name)?.publish.is_empty() {
        return Ok(());
    }
    let setting = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{arrival}/route_localnet"));
    Ok(fs::write(&setting, "1\n").map_err(|source| StateError::Write { path: setting, source })?)
}

/// All elements that the table of the family inet should have, out of the files of all containers.
pub(in crate::network) fn all_elements(paths: &Paths, reservations: &Reservations) -> BTreeSet<Element> {
    let settings = reservations.settings();
    let all = reservations.list();
    let addresses: HashMap<Peer, Addresses> =
        all.iter().map(|one| (Peer::of(one), settings.addresses(one.ip))).collect();
    let mut elements = BTreeSet::new();
    for peer in addresses.keys() {
        let policy = NetworkPolicy::load_or_none(paths, &peer.name);
        let grants = grants(peer, &policy, attachment(paths, &peer.name).as_ref());
        for grant in grants.iter().filter(|grant| !matches!(grant, Grant::Port(..))) {
            elements.extend(grant.elements(&|peer| addresses.get(peer).copied()));
        }
    }
    elements
}

/// A container at the bridge.
#[derive(Debug)]
pub(in crate::network) struct AtBridge {
    /// The host's end of its interface.
    pub(in crate::network) interface: String,
    /// Its MAC.
    pub(in crate::network) mac: MacAddress,
    /// Its addresses.
    pub(in crate::network) addresses: Addresses,
    /// What the table of the family bridge should have of it.
    pub(in crate::network) elements: Vec<Element>,
}

/// The running containers that are at the bridge.
pub(in crate::network) fn at_bridge(paths: &Paths, reservations: &Reservations) -> Vec<AtBridge> {
    let of_one = |reservation: Reservation| {
        let attachment = attachment(paths, &reservation.name).filter(|one| one.mode == NetworkMode::Bridge)?;
        let addresses = reservations.settings().addresses(reservation.ip);
        let port = Grant::Port(Peer::of(&reservation), attachment.interface.clone());
        let elements = port.elements(&|_| Some(addresses));
        Some(AtBridge { interface: attachment.interface, mac: reservation.mac, addresses, elements })
    };
    reservations.list().into_iter().filter_map(of_one).collect()
}

fn elements_of_activity(
    paths: &Paths,
    reservation: &Reservation,
    settings: &PoolSettings,
    attachment: &Attachment,
) -> Result<BTreeSet<Element>, PolicyError> {
    let policy = NetworkPolicy::load(paths, &reservation.name)?;
    let peer = Peer::of(reservation);
    let addresses = settings.addresses(reservation.ip);
    let of_activity = |grant: &Grant| matches!(grant, Grant::Member(..) | Grant::Port(..) | Grant::Publish(..));
    let grants = grants(&peer, &policy, Some(attachment)).into_iter().filter(of_activity);
    Ok(grants.flat_map(|grant| grant.elements(&|_| Some(addresses))).collect())
}

fn mark(paths: &Paths, name: &ContainerName) -> PathBuf {
    paths.container_run(name).join(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_the_interface_and_the_mode_that_is_not_the_default() {
        let paths = Paths::new("/a", "/b");
        for (mode, text) in [(NetworkMode::Routed, "v1a2b1"), (NetworkMode::Bridge, "v1a2b1 bridge")] {
            let attachment = Attachment::new(&paths, "v1a2b1", mode);
            assert_eq!(attachment.text(), text);
            assert_eq!(Attachment::parse(&paths, text), attachment);
        }
    }
}
