//! The host's side of the containers' network: a bridge without ports that holds the gateway's address
//! as a /32, forwarding, and one nftables table.
//!
//! Nothing of it survives a reboot, so every start asks whether it is there: a few system calls, no
//! program. What was set up is recorded in the run directory together with the network namespace it
//! is in; a record of another namespace, another subnet or an older program's rules counts for nothing.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ipnetwork::Ipv4Network;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with};
use serde::{Deserialize, Serialize};

use super::{PoolSettings, ReservationError, Reservations, bridge, netlink, ruleset::Ruleset, table, veth_prefix};
use crate::{
    Paths,
    image::Digest,
    program::{IP, NFT, ProgramError},
    setup::Change,
    state::{self, Durability, HostLock, LockError, StateError, Versioned},
};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Why the host's network could not be set up, torn down or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostNetworkError {
    /// `ip` or `nft` is missing or failed.
    #[error("cannot set up the containers' network")]
    Program(#[from] ProgramError),
    /// The kernel did not answer.
    #[error("cannot ask the kernel about {what}")]
    Kernel {
        /// About what.
        what: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Forwarding could not be read or changed.
    #[error("cannot access {}", path.display())]
    Forwarding {
        /// The kernel's file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The record of what was set up can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The subnet is not known.
    #[error(transparent)]
    Reservations(#[from] ReservationError),
    /// The host's lock can't be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What was set up, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNetwork {
    /// The containers' network.
    pub subnet: Ipv4Network,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// The inode of the network namespace.
    namespace: u64,
    /// Of the firewall's text.
    ruleset: Digest,
    /// Whether this turned forwarding on.
    forwarding_enabled: bool,
}

impl Versioned for HostNetwork {
    const KIND: &'static str = "record of the host's network";
    const VERSION: u32 = 1;
}

impl HostNetwork {
    /// What is up, or `None` if something of it is missing here. Takes some 50 µs and starts no program.
    pub fn find(paths: &Paths) -> Result<Option<Self>, HostNetworkError> {
        let Some(record) = state::read::<Self>(&paths.network_record())? else {
            return Ok(None);
        };
        let is_up = record.namespace == namespace()?
            && record.ruleset == Digest::of(ruleset_text(paths, record.subnet).as_bytes())
            && has_interface(&bridge(paths))?
            && has_table(&table(paths))?
            && forwards()?;
        Ok(is_up.then_some(record))
    }

    /// What is up, after setting up what was missing: what every start calls. Takes the host's lock
    /// if something is missing, so the caller must not hold it.
    pub fn ensure(paths: &Paths) -> Result<Self, HostNetworkError> {
        if let Some(up) = Self::find(paths)? {
            return Ok(up);
        }
        let lock = HostLock::acquire(paths)?;
        let reservations = Reservations::read(paths)?;
        Ok(Self::set_up(paths, &lock, reservations.settings())?.0)
    }

    /// Sets up what is missing and says what that was.
    pub fn set_up(
        paths: &Paths,
        _lock: &HostLock,
        settings: &PoolSettings,
    ) -> Result<(Self, Vec<Change>), HostNetworkError> {
        let found = Self::find(paths)?;
        if let Some(up) = found.filter(|up| (up.subnet, up.gateway) == (settings.subnet, settings.gateway)) {
            return Ok((up, Vec::new()));
        }
        // What an earlier set-up in this namespace turned on is still ours to turn off.
        let before = state::read::<Self>(&paths.network_record())?;
        let namespace = namespace()?;
        let turned_on = before.is_some_and(|before| before.namespace == namespace && before.forwarding_enabled);
        let text = ruleset_text(paths, settings.subnet);
        let record = Self {
            subnet: settings.subnet,
            gateway: settings.gateway,
            namespace,
            ruleset: Digest::of(text.as_bytes()),
            forwarding_enabled: turned_on || !forwards()?,
        };
        // Recorded first: a kill in between must not lose what there is to undo.
        state::write(&paths.network_record(), &record, Durability::Volatile)?;
        let mut changes = Vec::new();
        // The firewall comes before what it guards.
        NFT.run(&["-f", "-"], &text)?;
        changes.push(Change::FirewallLoaded { table: table(paths) });
        changes.extend(set_up_bridge(&bridge(paths), settings.gateway)?);
        if !forwards()? {
            set_forwarding("1\n")?;
            changes.push(Change::ForwardingEnabled);
        }
        Ok((record, changes))
    }

    /// Takes away what is there of it, in the current network namespace. Goes on after an error.
    pub fn tear_down(paths: &Paths, _lock: &HostLock) -> (Vec<Change>, Vec<HostNetworkError>) {
        let (mut changes, mut errors) = (Vec::new(), Vec::new());
        let mut note = |result: Result<Option<Change>, HostNetworkError>| match result {
            Ok(change) => changes.extend(change),
            Err(error) => errors.push(error),
        };
        note(tear_down_forwarding(paths));
        note(tear_down_bridge(&bridge(paths)));
        note(tear_down_table(&table(paths)));
        match fs::remove_file(paths.network_record()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                note(Err(StateError::Write { path: paths.network_record(), source }.into()));
            }
            _ => {}
        }
        (changes, errors)
    }
}

fn ruleset_text(paths: &Paths, subnet: Ipv4Network) -> String {
    let (table, bridge, veth_prefix) = (table(paths), bridge(paths), veth_prefix(paths));
    Ruleset { table: &table, bridge: &bridge, veth_prefix: &veth_prefix, subnet }.text()
}

fn set_up_bridge(name: &str, gateway: Ipv4Addr) -> Result<Option<Change>, HostNetworkError> {
    let is_new = !has_interface(name)?;
    let set = format!("address replace {gateway}/32 dev {name}\nlink set {name} up\n");
    let add = || IP.run(&["-batch", "-"], &format!("link add {name} type bridge\n{set}"));
    // The old gateway goes when the subnet was changed.
    let change = || IP.run(&["-batch", "-"], &format!("address flush dev {name}\n{set}"));
    if is_new {
        // A command that was killed may have left its `ip` at work, and that was quicker.
        add().or_else(|error| if has_interface(name).is_ok_and(|there| there) { change() } else { Err(error) })?;
    } else {
        change()?;
    }
    Ok(is_new.then(|| Change::BridgeCreated { name: name.to_owned(), gateway }))
}

fn tear_down_bridge(name: &str) -> Result<Option<Change>, HostNetworkError> {
    if !has_interface(name)? {
        return Ok(None);
    }
    IP.run(&["link", "delete", name], "")?;
    Ok(Some(Change::BridgeRemoved { name: name.to_owned() }))
}

fn tear_down_table(name: &str) -> Result<Option<Change>, HostNetworkError> {
    if !has_table(name)? {
        return Ok(None);
    }
    NFT.run(&["delete", "table", "inet", name], "")?;
    Ok(Some(Change::FirewallRemoved { table: name.to_owned() }))
}

fn tear_down_forwarding(paths: &Paths) -> Result<Option<Change>, HostNetworkError> {
    let record = state::read::<HostNetwork>(&paths.network_record())?;
    let namespace = namespace()?;
    if record.is_some_and(|record| record.namespace == namespace && record.forwarding_enabled) && forwards()? {
        set_forwarding("0\n")?;
        return Ok(Some(Change::ForwardingDisabled));
    }
    Ok(None)
}

fn forwards() -> Result<bool, HostNetworkError> {
    let text = fs::read_to_string(FORWARDING).map_err(forwarding_error)?;
    Ok(text.trim_end() != "0")
}

fn set_forwarding(value: &str) -> Result<(), HostNetworkError> {
    fs::write(FORWARDING, value).map_err(forwarding_error)
}

fn forwarding_error(source: io::Error) -> HostNetworkError {
    HostNetworkError::Forwarding { path: PathBuf::from(FORWARDING), source }
}

fn namespace() -> Result<u64, HostNetworkError> {
    let path = Path::new("/proc/self/ns/net");
    let kernel = |source| HostNetworkError::Kernel { what: path.display().to_string(), source };
    Ok(path.metadata().map_err(kernel)?.ino())
}

/// Asked with a socket, not of /sys: that shows the interfaces of the namespace it was mounted in.
fn has_interface(name: &str) -> Result<bool, HostNetworkError> {
    let kernel = |source: io::Error| HostNetworkError::Kernel { what: format!("interface {name}"), source };
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| kernel(error.into()))?;
    match name_to_index(&socket, name) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NODEV) => Ok(false),
        Err(error) => Err(kernel(error.into())),
    }
}

fn has_table(name: &str) -> Result<bool, HostNetworkError> {
    let kernel = |source| HostNetworkError::Kernel { what: format!("nftables table inet {name}"), source };
    netlink::has_table(name).map_err(kernel)
}
