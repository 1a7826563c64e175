//! A container's interface as a port of the installation's bridge: what the kernel has to know beside the port itself. All of
//! it is said, nothing learned, so there is nothing that a container could say of another one.
//!
//! ```text
//! port          learns no addresses, gets nothing that is for all or for nobody; may get back what it sent; all that it
//!               sends passes the chains
//! forwarding    the container's MAC is at this port
//! neighbours    the container's addresses have that MAC
//! routes        to its addresses, out of the bridge
//! ```
//!
//! The kernel takes away the first two with the interface; [`detach`] the others.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, netdevice::name_to_index, socket_with},
};

use super::{Addresses, MacAddress, bridge, netlink};
use crate::Paths;

/// Makes the host's end of a container's pair a port of the bridge, and tells the kernel where the container is. What is so
/// already stays so.
pub fn attach(paths: &Paths, interface: &str, mac: MacAddress, addresses: Addresses) -> io::Result<()> {
    let (port, bridge) = (index(interface)?, index(&bridge(paths))?);
    let mut messages = vec![
        netlink::enslave_message(port, bridge),
        netlink::port_message(port),
        netlink::forwarding_message(port, mac),
    ];
    messages.extend(all(mac, addresses).map(|address| netlink::neighbour_message(bridge, address, mac)));
    messages.extend(addresses.all().map(|address| netlink::route_message(bridge, address)));
    netlink::tell(&messages)
}

/// Makes the kernel forget where a container was that had these addresses; what it does not know is no error.
pub(super) fn detach(paths: &Paths, mac: MacAddress, addresses: Addresses) -> io::Result<()> {
    forget(paths, all(mac, addresses))
}

/// As [`detach`], for some addresses.
pub(crate) fn forget(paths: &Paths, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
    let bridge = match index(&bridge(paths)) {
        // All of it went with the bridge.
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(()),
        bridge => bridge?,
    };
    for address in addresses {
        netlink::delete_neighbour(bridge, address)?;
        netlink::delete_route_through(bridge, address)?;
    }
    Ok(())
}

/// The addresses with which a container may speak: also that of its link, which the kernel makes of the MAC (RFC 4291,
/// appendix A).
pub(super) fn all(mac: MacAddress, addresses: Addresses) -> impl Iterator<Item = IpAddr> {
    let link_local = addresses.v6.map(|_| IpAddr::from(link_local(mac)));
    addresses.all().chain(link_local)
}

fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = *mac.as_bytes();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn index(interface: &str) -> io::Result<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(&socket, interface)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_link_is_made_of_the_mac() {
        let mac = "02:1a:2b:3c:4d:5e".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::1a:2bff:fe3c:4d5e");
        let v4 = "10.0.0.2".parse().unwrap();
        assert_eq!(all(mac, Addresses { v4, v6: None }).count(), 1);
        assert_eq!(all(mac, Addresses { v4, v6: "fd00::2".parse().ok() }).count(), 3);
    }
}
