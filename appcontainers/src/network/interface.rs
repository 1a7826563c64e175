//! The interface of a container that runs: its addresses inside, and the host's routes to them.

use std::{fs::File, io, net::IpAddr, os::fd::AsFd, thread};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use serde::Deserialize;

use super::{
    Addresses, MacAddress,
    netlink::{delete_route, mac_of, set_neighbour, settle_address},
};
use crate::program::{IP, NSENTER, ProgramError};

/// The container's interface, inside.
const INSIDE: &str = "eth0";

/// Why an interface could not be given other addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// `ip` or `nsenter` is missing or failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// What `ip` said is not understood.
    #[error("cannot understand what ip(8) says of the container's interface")]
    Answer(#[from] serde_json::Error),
    /// The kernel does not take what it has to know of the container's port at the bridge.
    #[error("cannot tell the kernel where the container is at the bridge")]
    Port(#[source] io::Error),
    /// A route is in the way.
    #[error("cannot remove the host's route to {address}")]
    Route {
        /// Where it leads.
        address: IpAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Deserialize)]
struct Interface {
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    local: IpAddr,
    scope: String,
}

/// The link between the host and a container that runs.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The container's init.
    pub init: i32,
    /// The host's end of the pair, or the bridge that this is a port of.
    pub host_end: &'a str,
    /// The MAC of the container's end.
    pub mac: MacAddress,
    /// The container's.
    pub addresses: Addresses,
    /// The host's, for the container.
    pub gateways: Addresses,
}

/// Tells both ends of a container's link what they would have to ask for: nobody else is on it.
///
/// - The IPv6 address is usable at once.
/// - Each end knows the other's MAC for good. The kernel's tables of neighbours are for all namespaces together and hold 1,024
///   (`net.ipv4.neigh.default.gc_thresh3`, arp(7)), which permanent entries do not count for: without this, some 500 containers that
///   talk fill them, and others answer late or not at all.
pub fn settle_interface(link: &Link<'_>) -> io::Result<()> {
    let Link { init, mac, addresses, gateways, .. } = *link;
    let outside = index_of(link.host_end)?;
    for address in addresses.all() {
        set_neighbour(outside, address, mac)?;
    }
    let hosts_mac = mac_of(outside)?;
    let namespace = File::open(format!("/proc/{init}/ns/net"))?;
    let settle = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let inside = index_of(INSIDE)?;
        if let Some(address) = addresses.v6 {
            settle_address(inside, address)?;
        }
        gateways.all().try_for_each(|gateway| set_neighbour(inside, gateway, hosts_mac))
    };
    // A thread of its own: this one stays where it is.
    let thread = thread::Builder::new().spawn(settle)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the container's network panicked")))
}

fn index_of(interface: &str) -> io::Result<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(&socket, interface)?)
}

/// Gives the interface of the container with this init these addresses and no others, and the host routes to them through
/// its end of the pair, or through the bridge. The addresses that it had before.
pub(crate) fn move_interface(
    init: i32,
    host_end: &str,
    mac: MacAddress,
    addresses: Addresses,
) -> Result<Vec<IpAddr>, InterfaceError> {
    let init = init.to_string();
    let inside = |words: &[&str], input: &str| {
        // The host's program, in nothing of the container's but its network.
        let ip = IP.find()?.display().to_string();
        NSENTER.run(&[&["--target", &init, "--net", "--", &ip], words].concat(), input)
    };
    let listing = inside(&["-json", "address", "show", "dev", INSIDE], "")?;
    let interfaces: Vec<Interface> = serde_json::from_str(&listing)?;
    let old = interfaces.into_iter().flat_map(|interface| interface.addr_info);
    let old = old.filter(|info| info.scope == "global" && addresses.all().all(|address| address != info.local));
    let old: Vec<_> = old.map(|info| info.local).collect();
    let (mut script, mut routes) = (String::new(), String::new());
    for address in addresses.all() {
        let (length, nodad) = if address.is_ipv4() { (32, "") } else { (128, " nodad") };
        // Before the old one goes: with its last address an interface loses its routes.
        script += &format!("address replace {address}/{length} dev {INSIDE}{nodad}\n");
        routes += &format!("route replace {address}/{length} dev {host_end}\n");
        routes += &format!("neigh replace {address} lladdr {mac} dev {host_end} nud permanent\n");
    }
    for &local in &old {
        script += &format!("address delete {local} dev {INSIDE}\n");
        delete_route(local).map_err(|source| InterfaceError::Route { address: local, source })?;
    }
    inside(&["-batch", "-"], &script)?;
    IP.run(&["-batch", "-"], &routes)?;
    Ok(old)
}
