//! The host's side of the containers' network: a bridge that holds the gateway's addresses as /32 and /128, without ports as
//! long as no container is one, routes that lead nowhere for what no container has, forwarding, and one nftables table; for
//! containers at the bridge, a second one.
//!
//! Nothing of it survives a reboot, so every start asks whether it is there: a few system calls, no
//! program. What was set up is recorded in the run directory together with the network namespace it
//! is in; a record of another namespace, another subnet or an older program's rules counts for nothing.

mod bridge;
mod forwarding;
mod presence;

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use ipnetwork::{Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};

use bridge::{attach_all, set_up_bridge, set_up_routes, tear_down_bridge, tear_down_routes};
pub(crate) use forwarding::forwarding;
pub(super) use forwarding::{FORWARDING, FORWARDING_V6, forwards, has_ipv6};
use forwarding::{keep_router_advertisements, write_setting};
pub(super) use presence::{has_interface, has_table, interface_index, kernel_error, namespace};

use super::{
    PoolSettings, ReservationError, Reservations, bridge,
    faults::{TableFaults, await_own_address},
    firewall::{self, Ruleset, TableFamily},
    policy, table, veth_prefix,
};
use crate::{
    Paths,
    image::Digest,
    program::{NFT, ProgramError},
    setup::Change,
    state::{self, Durability, HostLock, LockError, StateError, Versioned},
};

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
    /// Both in IPv6, where this host has that.
    #[serde(default)]
    pub v6: Option<HostNetwork6>,
    /// The inode of the network namespace.
    namespace: u64,
    /// Of the firewall's text.
    ruleset: Digest,
    /// Whether this turned forwarding on.
    forwarding_enabled: bool,
    /// Whether this turned forwarding of IPv6 on.
    #[serde(default)]
    forwarding6_enabled: bool,
    /// Whether there is the table for containers at the bridge, too.
    #[serde(default)]
    bridged: bool,
}

/// The containers' network in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNetwork6 {
    /// The network.
    pub subnet: Ipv6Network,
    /// The host's address in it.
    pub gateway: Ipv6Addr,
}

impl HostNetwork6 {
    /// As the settings have it; none where this host has no IPv6.
    fn of(settings: &PoolSettings) -> Option<Self> {
        let (subnet, gateway) = (settings.subnet6?, settings.address6(settings.gateway)?);
        has_ipv6().then_some(Self { subnet, gateway })
    }
}

impl Versioned for HostNetwork {
    const KIND: &'static str = "record of the host's network";
    const VERSION: u32 = 1;
}

impl HostNetwork {
    /// What is up, or `None` if something of it is missing here, or a command was killed while it changed the firewall.
    /// Takes some 70 µs and starts no program.
    pub fn find(paths: &Paths) -> Result<Option<Self>, HostNetworkError> {
        if paths.network_change_mark().exists() {
            return Ok(None);
        }
        Self::find_beside_change(paths)
    }

    /// As [`Self::find`], for who changes the firewall.
    pub(super) fn find_beside_change(paths: &Paths) -> Result<Option<Self>, HostNetworkError> {
        match Self::read(paths)? {
            Some(record) if record.faults(paths)?.is_empty() => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    /// What was set up since the host's boot.
    pub(super) fn read(paths: &Paths) -> Result<Option<Self>, HostNetworkError> {
        Ok(state::read::<Self>(&paths.network_record())?)
    }

    /// Brings back what somebody has deleted, or a killed command has left half done, since this was set up here; nothing where
    /// nothing was. Takes no longer than [`Self::find`] where nothing is missing, else the host's lock.
    pub fn restore(paths: &Paths) -> Result<Vec<Change>, HostNetworkError> {
        let is_here = |record: &Self| Ok::<_, HostNetworkError>(record.is_of(namespace()?));
        match Self::read(paths)? {
            Some(record) if is_here(&record)? && Self::find(paths)?.is_none() => {}
            _ => return Ok(Vec::new()),
        }
        let lock = HostLock::acquire(paths)?;
        // It may just have been torn down for good.
        if Self::read(paths)?.is_none() {
            return Ok(Vec::new());
        }
        let reservations = Reservations::read(paths)?;
        match Self::find(paths)? {
            Some(_) => Ok(Vec::new()),
            None => Ok(Self::load(paths, &lock, reservations.settings())?.1),
        }
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

    /// As [`Self::ensure`], for a container at the bridge.
    pub fn ensure_bridged(paths: &Paths) -> Result<Self, HostNetworkError> {
        let up = Self::ensure(paths)?;
        if up.bridged {
            return Ok(up);
        }
        let _lock = HostLock::acquire(paths)?;
        let mut up = Self::read(paths)?.unwrap_or(up);
        up.bridged = true;
        up.ruleset = Digest::of(up.ruleset_text(paths).as_bytes());
        up.load_bridge_table(paths, &Reservations::read(paths)?)?;
        state::write(&paths.network_record(), &up, Durability::Volatile)?;
        Ok(up)
    }

    /// Sets up what is missing, after a thorough look, and says what that was.
    pub fn set_up(
        paths: &Paths,
        lock: &HostLock,
        settings: &PoolSettings,
    ) -> Result<(Self, Vec<Change>), HostNetworkError> {
        let is_as_wanted = |up: &Self| {
            (up.subnet, up.gateway, up.v6) == (settings.subnet, settings.gateway, HostNetwork6::of(settings))
        };
        match Self::find(paths)?.filter(is_as_wanted) {
            Some(up) => up.mend(paths, lock, settings),
            None => Self::load(paths, lock, settings),
        }
    }

    /// Brings back what only a thorough look finds.
    fn mend(
        self,
        paths: &Paths,
        lock: &HostLock,
        settings: &PoolSettings,
    ) -> Result<(Self, Vec<Change>), HostNetworkError> {
        let reservations = Reservations::read(paths)?;
        let TableFaults { rules, missing, foreign } = self.table_faults(paths, lock, &reservations)?;
        if rules.is_some() {
            return Self::load(paths, lock, settings);
        }
        let mut changes = Vec::new();
        if !(missing.is_empty() && foreign.is_empty()) {
            firewall::change(paths, &foreign, &missing)?;
            let (table, added, removed) = (table(paths), missing.len(), foreign.len());
            changes.push(Change::FirewallMended { table, added, removed });
        }
        changes.extend(set_up_routes(paths, &reservations)?);
        if self.bridged {
            attach_all(paths, &reservations);
        }
        Ok((self, changes))
    }

    /// Sets all of it up, whatever is there.
    pub(super) fn load(
        paths: &Paths,
        _lock: &HostLock,
        settings: &PoolSettings,
    ) -> Result<(Self, Vec<Change>), HostNetworkError> {
        // What an earlier set-up in this namespace turned on is still ours to turn off.
        let namespace = namespace()?;
        let before = state::read::<Self>(&paths.network_record())?.filter(|before| before.namespace == namespace);
        let v6 = HostNetwork6::of(settings);
        let reservations = Reservations::read(paths)?;
        let mut record = Self {
            subnet: settings.subnet,
            gateway: settings.gateway,
            v6,
            namespace,
            ruleset: Digest::of(b""),
            forwarding_enabled: before.as_ref().is_some_and(|before| before.forwarding_enabled)
                || !forwards(FORWARDING)?,
            forwarding6_enabled: before.as_ref().is_some_and(|before| before.forwarding6_enabled)
                || (v6.is_some() && !forwards(FORWARDING_V6)?),
            bridged: before.as_ref().is_some_and(|before| before.bridged)
                || !policy::at_bridge(paths, &reservations).is_empty(),
        };
        record.ruleset = Digest::of(record.ruleset_text(paths).as_bytes());
        // Recorded first: a kill in between must not lose what there is to undo.
        state::write(&paths.network_record(), &record, Durability::Volatile)?;
        let mut changes = Vec::new();
        // The firewall comes before what it guards.
        let elements = policy::all_elements(paths, &reservations);
        record.load_bridge_table(paths, &reservations)?;
        record.with_ruleset(paths, |ruleset| firewall::load(ruleset, &elements))?;
        if paths.network_change_mark().exists() {
            // Whoever was killed may not have come to the names, either.
            policy::refresh_all_hosts(paths, &reservations);
        }
        remove_file(&paths.network_change_mark())?;
        changes.push(Change::FirewallLoaded { table: table(paths) });
        changes.extend(set_up_bridge(paths, &record)?);
        if let Some(v6) = v6 {
            await_own_address(v6.gateway.into())?;
        }
        if record.bridged {
            attach_all(paths, &reservations);
        }
        if !forwards(FORWARDING)? {
            write_setting(FORWARDING, "1\n")?;
            changes.push(Change::ForwardingEnabled);
        }
        if v6.is_some() && !forwards(FORWARDING_V6)? {
            keep_router_advertisements()?;
            write_setting(FORWARDING_V6, "1\n")?;
            changes.push(Change::Forwarding6Enabled);
        }
        changes.extend(set_up_routes(paths, &reservations)?);
        Ok((record, changes))
    }

    /// Whether it was set up in this network namespace.
    pub(super) fn is_of(&self, namespace: u64) -> bool {
        self.namespace == namespace
    }

    /// Whether the tables were loaded with this text.
    pub(super) fn has_ruleset(&self, digest: &Digest) -> bool {
        self.ruleset == *digest
    }

    /// Whether a container was a port of the bridge since this was set up.
    pub(crate) fn is_with_bridge(paths: &Paths) -> bool {
        Self::read(paths).is_ok_and(|record| record.is_some_and(|record| record.bridged))
    }

    /// The families of the tables that there should be.
    pub(super) fn families(&self) -> &'static [TableFamily] {
        let all = &[TableFamily::Inet, TableFamily::Arp, TableFamily::Bridge];
        if self.bridged { all } else { &all[..2] }
    }

    pub(super) fn rule_count(&self, paths: &Paths) -> usize {
        firewall::rule_count(&self.ruleset_text(paths))
    }

    pub(super) fn ruleset_text(&self, paths: &Paths) -> String {
        let text = self.with_ruleset(paths, |ruleset| ruleset.text());
        if self.bridged { text + &firewall::bridge_text(paths) } else { text }
    }

    fn load_bridge_table(&self, paths: &Paths, reservations: &Reservations) -> Result<(), HostNetworkError> {
        if self.bridged {
            let elements = policy::at_bridge(paths, reservations).into_iter().flat_map(|one| one.elements).collect();
            firewall::load_bridge(paths, &elements)?;
        }
        Ok(())
    }

    fn with_ruleset<T>(&self, paths: &Paths, f: impl FnOnce(&Ruleset<'_>) -> T) -> T {
        let (table, bridge, veth_prefix) = (table(paths), bridge(paths), veth_prefix(paths));
        let Self { subnet, gateway, v6, .. } = *self;
        let v6 = v6.map(|v6| (v6.subnet, v6.gateway));
        f(&Ruleset { table: &table, bridge: &bridge, veth_prefix: &veth_prefix, subnet, gateway, v6 })
    }

    /// Takes away what is there of it, in the current network namespace. Goes on after an error.
    pub fn tear_down(paths: &Paths, _lock: &HostLock) -> (Vec<Change>, Vec<HostNetworkError>) {
        let (mut changes, mut errors) = (Vec::new(), Vec::new());
        let mut note = |result: Result<Option<Change>, HostNetworkError>| match result {
            Ok(change) => changes.extend(change),
            Err(error) => errors.push(error),
        };
        note(tear_down_forwarding(paths, FORWARDING));
        note(tear_down_forwarding(paths, FORWARDING_V6));
        note(tear_down_routes(paths));
        note(tear_down_bridge(&bridge(paths)));
        for family in [TableFamily::Inet, TableFamily::Arp, TableFamily::Bridge] {
            note(tear_down_table(family, &table(paths)));
        }
        for path in [paths.network_record(), paths.network_change_mark()] {
            note(remove_file(&path).map(|()| None));
        }
        (changes, errors)
    }
}

fn tear_down_table(family: TableFamily, name: &str) -> Result<Option<Change>, HostNetworkError> {
    if !has_table(family, name)? {
        return Ok(None);
    }
    let deleted = NFT.run(&["delete", "table", family.as_str(), name], "").map(drop);
    if let Err(error) = deleted
        && has_table(family, name)?
    {
        return Err(error.into());
    }
    // One to the user, who never asked for three.
    Ok((family == TableFamily::Inet).then(|| Change::FirewallRemoved { table: name.to_owned() }))
}

fn tear_down_forwarding(paths: &Paths, setting: &'static str) -> Result<Option<Change>, HostNetworkError> {
    let Some(record) = state::read::<HostNetwork>(&paths.network_record())? else { return Ok(None) };
    let (enabled, change) = match setting {
        FORWARDING => (record.forwarding_enabled, Change::ForwardingDisabled),
        _ => (record.forwarding6_enabled, Change::Forwarding6Disabled),
    };
    if enabled && record.namespace == namespace()? && forwards(setting)? {
        write_setting(setting, "0\n")?;
        return Ok(Some(change));
    }
    Ok(None)
}

fn remove_file(path: &Path) -> Result<(), HostNetworkError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StateError::Write { path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}
