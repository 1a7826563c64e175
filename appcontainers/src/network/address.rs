//! Which addresses containers may have: the default subnet, and the next free address of one.

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use ipnetwork::{Ipv4Network, Ipv6Network};

use super::pool::Slots;

/// Why the host's routes are not known.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the host's routes from {}", path.display())]
pub struct RoutesError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Every network that could be a default overlaps one of the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no /16 of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 is free of the host's routes; name one: appc setup --subnet CIDR"
)]
pub struct NoSubnet;

/// What a host already reaches: the destinations of its routes (the default route aside) and its own
/// addresses. A port-less bridge with a /32 has no route in the main table: its address shows that it is there.
pub fn host_networks() -> Result<Vec<Ipv4Network>, RoutesError> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|source| RoutesError { path: Path::new(path).to_owned(), source })
    };
    let mut networks = parse_routes(&read("/proc/net/route")?);
    networks.extend(parse_local_addresses(&read("/proc/net/fib_trie")?));
    Ok(networks)
}

/// The first /16 that overlaps none of `taken`. The search begins where few others look: Docker, podman,
/// Kubernetes, LXC and cloud networks take theirs from 10.0, 10.42, 10.88, 10.244 and 172.17 on.
pub fn default_subnet(taken: &[Ipv4Network]) -> Result<Ipv4Network, NoSubnet> {
    let tens = (213..=255).chain((0..213).rev()).map(|second| Ipv4Addr::new(10, second, 0, 0));
    let others = (16..=31).rev().map(|second| Ipv4Addr::new(172, second, 0, 0));
    tens.chain(others)
        .chain([Ipv4Addr::new(192, 168, 0, 0)])
        .filter_map(|address| Ipv4Network::new(address, 16).ok())
        .find(|candidate| !taken.iter().any(|network| network.overlaps(*candidate)))
        .ok_or(NoSubnet)
}

/// The destinations in the text of `/proc/net/route`, the default route left out (proc_pid_net(5)).
fn parse_routes(text: &str) -> Vec<Ipv4Network> {
    // The kernel prints addresses as numbers in the host's byte order.
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    let route = |line: &str| {
        let mut fields = line.split_whitespace();
        let destination = address(fields.nth(1)?)?;
        let mask = address(fields.nth(5)?)?;
        Ipv4Network::with_netmask(destination, mask).ok().filter(|network| network.prefix() > 0)
    };
    text.lines().skip(1).filter_map(route).collect()
}

/// The host's own addresses in the text of `/proc/net/fib_trie`, 127.0.0.0/8 left out.
fn parse_local_addresses(text: &str) -> Vec<Ipv4Network> {
    let mut addresses = Vec::new();
    let mut leaf = None;
    for line in text.lines().map(str::trim_start) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.ends_with("host LOCAL") {
            addresses.extend(leaf.filter(|address| !address.is_loopback()).map(Ipv4Network::from));
        }
    }
    addresses.dedup();
    addresses
}

/// The gateway that containers of a subnet see: its first address.
pub(super) fn gateway_of(subnet: Ipv4Network) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) + 1)
}

/// A /64 of the addresses that are routed nowhere, with 40 random bits (RFC 4193, section 3.2.2).
pub(super) fn unique_local() -> Ipv6Network {
    let [a, b, c, d, e] = rand::random();
    let network = Ipv6Addr::from([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Ipv6Network::new(network, 64).unwrap_or_else(|_| Ipv6Network::from(network))
}

/// The address of a /64 that ends with the bytes of an IPv4 address: as unique as that.
pub(super) fn within(subnet: Ipv6Network, ip: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(subnet.network()) | u128::from(u32::from(ip)))
}

/// The next free address of `subnet` after `last`, or from the start if there is none behind it.
/// Never the network's, the broadcast's or the gateway's. An address that was just given back is thus
/// the last to be given again: the old container's route and connections are gone by then.
pub(super) fn next_free(
    subnet: Ipv4Network,
    gateway: Ipv4Addr,
    last: Option<Ipv4Addr>,
    taken: impl Iterator<Item = Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let first = u32::from(subnet.network());
    let slot = |address: Ipv4Addr| u32::from(address).checked_sub(first);
    let mut slots = Slots::new(subnet.size());
    let network_and_broadcast = [subnet.network(), subnet.broadcast()];
    for address in taken.chain(network_and_broadcast).chain([gateway]) {
        slots.take(slot(address));
    }
    slots.next_free(last.and_then(slot)).map(|free| Ipv4Addr::from(first + free))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Network {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_subnet_keeps_clear_of_routes_and_of_addresses_without_a_route() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\t0\t0\n";
        let mut taken = parse_routes(routes);
        assert_eq!(taken, [net("10.213.0.0/15")]);
        assert_eq!(default_subnet(&taken).unwrap(), net("10.214.0.0/16"));
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.214.0.1\n        /32 host LOCAL\n     \
            |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.215.0.0\n        /16 link UNICAST\n";
        taken.extend(parse_local_addresses(trie));
        assert_eq!(default_subnet(&taken).unwrap(), net("10.215.0.0/16"));
        taken.push(net("10.0.0.0/8"));
        assert_eq!(default_subnet(&taken).unwrap(), net("172.31.0.0/16"));
        taken.extend([net("172.16.0.0/12"), net("192.168.7.0/24")]);
        assert_eq!(default_subnet(&taken), Err(NoSubnet));
    }

    #[test]
    fn an_ipv6_address_ends_with_the_ipv4_address() {
        let subnet = unique_local();
        assert_eq!((subnet.prefix(), subnet.network().octets()[0]), (64, 0xfd));
        assert_ne!(subnet, unique_local());
        let address = within("fd12:3456:789a::/64".parse().unwrap(), Ipv4Addr::new(10, 213, 0, 2));
        assert_eq!(address.to_string(), "fd12:3456:789a::ad5:2");
    }

    #[test]
    fn this_hosts_routes_are_understood() {
        host_networks().unwrap();
    }

    #[test]
    fn an_address_given_back_is_the_last_to_be_given_again() {
        let subnet = net("10.1.0.0/29");
        let gateway = gateway_of(subnet);
        let ip = |last| Ipv4Addr::new(10, 1, 0, last);
        assert_eq!(next_free(subnet, gateway, None, [].into_iter()), Some(ip(2)));
        assert_eq!(next_free(subnet, gateway, Some(ip(4)), [ip(5)].into_iter()), Some(ip(6)));
        assert_eq!(next_free(subnet, gateway, Some(ip(6)), [].into_iter()), Some(ip(2)));
        assert_eq!(next_free(subnet, gateway, Some(ip(4)), (2..7).map(ip)), None);
    }

    proptest! {
        #[test]
        fn a_free_address_is_in_the_subnet_and_nobodys(
            prefix in 16u8..=30, base: u32, taken in prop::collection::vec(any::<u32>(), 0..40), last: Option<u32>,
        ) {
            let subnet = Ipv4Network::new(Ipv4Addr::from(base), prefix).unwrap();
            let inside = |n: u32| Ipv4Addr::from(u32::from(subnet.network()) + n % subnet.size());
            let gateway = gateway_of(subnet);
            let mut taken: Vec<_> = taken.into_iter().map(inside).collect();
            while let Some(free) = next_free(subnet, gateway, last.map(inside), taken.iter().copied()) {
                prop_assert!(subnet.contains(free) && !taken.contains(&free));
                prop_assert!(![gateway, subnet.network(), subnet.broadcast()].contains(&free));
                taken.push(free);
                if subnet.size() > 256 { break; }
            }
        }
    }
}
