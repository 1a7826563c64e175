//! What is missing of the host's network. Two looks: a cheap one, which every command has, and a thorough one for `setup` and
//! `doctor`, which reads the whole table.

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;

use super::{
    HostNetwork, HostNetworkError, Reservations, bridge,
    firewall::{self, Element},
    host::{FORWARDING, FORWARDING_V6, forwards, has_interface, has_table, interface_index, kernel_error, namespace},
    netlink::{RouteTo, route_to},
    policy, table,
};
use crate::{
    ContainerName, Paths,
    image::Digest,
    runtime::{self, Status},
    state::HostLock,
};

/// How long the kernel may take with an address: far less than a millisecond where it has nothing else to do. After that, the next
/// command finds it missing.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);

/// A part of the host's network that is not as it was set up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It was set up in another network namespace than this one.
    Elsewhere,
    /// It was set up by another version of the program, or for another subnet.
    Outdated,
    /// A command was killed while it changed the rules.
    Interrupted,
    /// One of the firewall's tables is gone.
    Table {
        /// Its family: `inet` for packets, `arp` for who has which MAC, `bridge` for frames.
        family: &'static str,
        /// Its name.
        name: String,
    },
    /// The bridge is gone.
    Bridge {
        /// Its name.
        name: String,
    },
    /// The host has the gateway's address no more.
    Gateway {
        /// The address.
        address: IpAddr,
    },
    /// What is for a container that does not run would go where the default route leads.
    Subnet {
        /// The containers' network.
        subnet: IpNetwork,
    },
    /// The host does not forward.
    Forwarding {
        /// The setting, as sysctl(8) has it.
        setting: &'static str,
    },
    /// Some of the table's rules are gone, or there are others.
    Rules {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Elements of the table's sets.
    Elements {
        /// How many are not there.
        missing: usize,
        /// How many nobody asked for.
        foreign: usize,
    },
    /// The host has no route to a container that runs.
    Route {
        /// The container.
        name: ContainerName,
        /// Its address.
        address: IpAddr,
    },
    /// The interface of a container that runs is gone; only a start makes another one.
    Interface {
        /// The container.
        name: ContainerName,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("it was set up in another network namespace"),
            Self::Outdated => f.write_str("it was set up by another version of appc"),
            Self::Interrupted => f.write_str("a command was killed while it changed the rules"),
            Self::Table { family, name } => write!(f, "firewall table {family} {name} is gone"),
            Self::Bridge { name } => write!(f, "bridge {name} is gone"),
            Self::Gateway { address } => write!(f, "this host has not the gateway's address {address}"),
            Self::Subnet { subnet } => write!(f, "route unreachable {subnet} is gone"),
            Self::Forwarding { setting } => write!(f, "{setting} is 0"),
            Self::Rules { found, expected } => write!(f, "the firewall has {found} rules instead of {expected}"),
            Self::Elements { missing, foreign: 0 } => write!(f, "{missing} elements of the firewall's sets are gone"),
            Self::Elements { missing: 0, foreign } => {
                write!(f, "the firewall's sets have {foreign} elements that belong to no rule")
            }
            Self::Elements { missing, foreign } => {
                write!(f, "{missing} elements of the firewall's sets are gone, {foreign} belong to no rule")
            }
            Self::Route { name, address } => write!(f, "the route to {address} of container {name} is gone"),
            Self::Interface { name } => {
                write!(f, "the interface of container {name} is gone (appc restart {name} makes another)")
            }
        }
    }
}

/// What a thorough look at the table has found.
pub(super) struct TableFaults {
    pub(super) rules: Option<Fault>,
    /// Elements that are not there.
    pub(super) missing: BTreeSet<Element>,
    /// Elements that nobody asked for.
    pub(super) foreign: BTreeSet<Element>,
}

impl HostNetwork {
    /// What is missing at a glance: some 70 µs, and no program is started.
    pub(super) fn faults(&self, paths: &Paths) -> Result<Vec<Fault>, HostNetworkError> {
        if !self.is_of(namespace()?) {
            return Ok(vec![Fault::Elsewhere]);
        }
        let mut faults = Vec::new();
        let mut check = |is_there: bool, fault: &dyn Fn() -> Fault| {
            if !is_there {
                faults.push(fault());
            }
        };
        check(self.has_ruleset(&Digest::of(self.ruleset_text(paths).as_bytes())), &|| Fault::Outdated);
        let table = table(paths);
        for family in self.families() {
            let missing = || Fault::Table { family: family.as_str(), name: table.clone() };
            check(has_table(*family, &table)?, &missing);
        }
        check(has_interface(&bridge(paths))?, &|| Fault::Bridge { name: bridge(paths) });
        check(forwards(FORWARDING)?, &|| Fault::Forwarding { setting: "net.ipv4.ip_forward" });
        let mut sides = vec![(IpAddr::V4(self.gateway), IpNetwork::V4(self.subnet))];
        if let Some(v6) = self.v6 {
            check(forwards(FORWARDING_V6)?, &|| Fault::Forwarding { setting: "net.ipv6.conf.all.forwarding" });
            sides.push((IpAddr::V6(v6.gateway), IpNetwork::V6(v6.subnet)));
        }
        for (address, subnet) in sides {
            check(ask_route(address)? == RouteTo::Host, &|| Fault::Gateway { address });
            // No container ever has the network's own address.
            check(ask_route(subnet.network())? == RouteTo::Unreachable, &|| Fault::Subnet { subnet });
        }
        Ok(faults)
    }

    /// All that is missing, in the table and of containers that run as well; `None` where nothing was set up since the host's
    /// boot. Asks `nft` for the whole table.
    pub fn examine(paths: &Paths) -> Result<Option<Vec<Fault>>, HostNetworkError> {
        if Self::read(paths)?.is_none() {
            return Ok(None);
        }
        // Nobody changes it meanwhile.
        let lock = HostLock::acquire(paths)?;
        let Some(record) = Self::read(paths)? else { return Ok(None) };
        let mut faults = record.faults(paths)?;
        if paths.network_change_mark().exists() {
            faults.push(Fault::Interrupted);
        }
        if faults.is_empty() {
            let reservations = Reservations::read(paths)?;
            let table = record.table_faults(paths, &lock, &reservations)?;
            faults.extend(table.rules);
            let (missing, foreign) = (table.missing.len(), table.foreign.len());
            if missing + foreign > 0 {
                faults.push(Fault::Elements { missing, foreign });
            }
            faults.extend(route_faults(paths, &reservations)?.into_iter().map(|(fault, _)| fault));
        }
        Ok(Some(faults))
    }

    /// How the tables differ from what containers' rules say.
    pub(super) fn table_faults(
        &self,
        paths: &Paths,
        _lock: &HostLock,
        reservations: &Reservations,
    ) -> Result<TableFaults, HostNetworkError> {
        let listings = self.families().iter().map(|family| firewall::list_of(*family, paths));
        let listings = listings.collect::<Result<Vec<_>, _>>()?;
        let mut wanted = policy::all_elements(paths, reservations);
        wanted.extend(policy::at_bridge(paths, reservations).into_iter().flat_map(|one| one.elements));
        let expected = self.rule_count(paths);
        let found = listings.iter().map(|listing| listing.rules).sum();
        let rules = (found != expected).then_some(Fault::Rules { found, expected });
        let found: BTreeSet<Element> = listings.into_iter().flat_map(|listing| listing.elements.into_keys()).collect();
        Ok(TableFaults { rules, missing: &wanted - &found, foreign: &found - &wanted })
    }
}

/// Containers that run and that the host has no way to, with the interface that it should take where there is one.
pub(super) fn route_faults(
    paths: &Paths,
    reservations: &Reservations,
) -> Result<Vec<(Fault, Option<String>)>, HostNetworkError> {
    let mut faults = Vec::new();
    for one in reservations.list() {
        let Some(attachment) = policy::attachment(paths, &one.name) else { continue };
        if runtime::status(paths, &one.name)? != Status::Running {
            continue;
        }
        if interface_index(&attachment.interface)?.is_none() {
            faults.push((Fault::Interface { name: one.name }, None));
            continue;
        }
        // Where it is a port of the bridge, there may be no bridge.
        let Some(index) = interface_index(&attachment.arrival)? else { continue };
        for address in reservations.settings().addresses(one.ip).all() {
            if ask_route(address)? != RouteTo::Interface(index) {
                faults.push((Fault::Route { name: one.name.clone(), address }, Some(attachment.arrival.clone())));
            }
        }
    }
    Ok(faults)
}

/// Whether an address is the host's own.
pub(crate) fn is_own_address(address: IpAddr) -> Result<bool, HostNetworkError> {
    Ok(ask_route(address)? == RouteTo::Host)
}

/// Waits until the host has an address that it has just been given: the kernel takes an IPv6 address in its own time.
pub(super) fn await_own_address(address: IpAddr) -> Result<(), HostNetworkError> {
    let until = Instant::now() + ADDRESS_TIMEOUT;
    while ask_route(address)? != RouteTo::Host && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn ask_route(to: IpAddr) -> Result<RouteTo, HostNetworkError> {
    route_to(to).map_err(kernel_error(|| format!("the route to {to}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_what_is_gone() {
        let shown = |fault: Fault| fault.to_string();
        assert_eq!(shown(Fault::Table { family: "inet", name: "t".to_owned() }), "firewall table inet t is gone");
        let address = "10.0.0.2".parse().unwrap();
        let route = Fault::Route { name: "web".parse().unwrap(), address };
        assert_eq!(shown(route), "the route to 10.0.0.2 of container web is gone");
        assert_eq!(
            shown(Fault::Elements { missing: 2, foreign: 1 }),
            "2 elements of the firewall's sets are gone, 1 belong to no rule"
        );
    }
}
