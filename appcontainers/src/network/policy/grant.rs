//! What the rules of a container grant, and the elements of the table that let the kernel know. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::IpNetwork;

use super::{
    NetworkPolicy,
    activity::Attachment,
    rule::{Allow, Client, Egress, Peer, Port, Publication},
};
use crate::network::{
    NetworkMode, bridge_port,
    firewall::{Element, Family, Set},
};

/// A container's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The reserved one.
    pub v4: Ipv4Addr,
    /// That which goes with it, where the host has IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [Some(IpAddr::V4(self.v4)), self.v6.map(IpAddr::V6)].into_iter().flatten()
    }
}

/// One thing that the rules grant, or hold back. Two rules may grant the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grant {
    /// It runs: packets that arrive there with its address and MAC are its own.
    Member(Peer, String),
    /// It is at this port of the bridge.
    Port(Peer, String),
    /// It may connect there.
    Connect { client: Client, server: Peer, port: Option<Port> },
    /// These ports of the host's are its own.
    Publish(Peer, Publication),
    /// It may not connect to everything outside.
    Limited(Peer),
    /// But there.
    Egress(Peer, IpNetwork),
}

/// What the rules of a container grant, which is on the network if it has an attachment.
pub(super) fn grants(owner: &Peer, policy: &NetworkPolicy, attachment: Option<&Attachment>) -> BTreeSet<Grant> {
    let mut grants = BTreeSet::new();
    for allow in policy.allow.iter().filter(|allow| !is_within_another(allow, policy)) {
        grants.insert(Grant::Connect { client: allow.from.clone(), server: owner.clone(), port: allow.port });
    }
    for link in policy.links.values() {
        let client = Client::Container(owner.clone());
        grants.insert(Grant::Connect { client, server: link.provider.clone(), port: Some(link.port) });
    }
    let networks = match &policy.egress {
        Egress::All => None,
        Egress::None => Some(&[][..]),
        Egress::Only(networks) => Some(networks.as_slice()),
    };
    if let Some(networks) = networks {
        grants.insert(Grant::Limited(owner.clone()));
        let outermost = networks.iter().filter(|inner| !networks.iter().any(|outer| is_within(inner, outer)));
        grants.extend(outermost.map(|network| Grant::Egress(owner.clone(), *network)));
    }
    if let Some(Attachment { interface, mode, arrival }) = attachment {
        grants.insert(Grant::Member(owner.clone(), arrival.clone()));
        if *mode == NetworkMode::Bridge {
            grants.insert(Grant::Port(owner.clone(), interface.clone()));
        }
        grants.extend(policy.publish.iter().map(|one| Grant::Publish(owner.clone(), one.clone())));
    }
    grants
}

/// Whether another rule already allows all of this one's network: the kernel takes no element that lies within another.
fn is_within_another(allow: &Allow, policy: &NetworkPolicy) -> bool {
    let Client::Network(inner) = &allow.from else { return false };
    // Each network around it, not each rule: there may be thousands of those.
    (0..inner.prefix()).any(|prefix| {
        let outer = IpNetwork::new(inner.ip(), prefix).and_then(|around| IpNetwork::new(around.network(), prefix));
        outer.is_ok_and(|outer| policy.allow.contains(&Allow { from: Client::Network(outer), port: allow.port }))
    })
}

/// Whether `inner` lies within `outer` and is not the same.
fn is_within(inner: &IpNetwork, outer: &IpNetwork) -> bool {
    inner.prefix() > outer.prefix() && outer.contains(inner.ip())
}

impl Grant {
    /// The containers that it is about.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Peer> {
        let (one, other) = match self {
            Grant::Member(peer, _)
            | Grant::Port(peer, _)
            | Grant::Limited(peer)
            | Grant::Publish(peer, _)
            | Grant::Egress(peer, _) => (peer, None),
            Grant::Connect { client, server, .. } => (server, client.container()),
        };
        std::iter::once(one).chain(other)
    }

    /// Its elements; none if a container that it is about is there no more.
    pub(super) fn elements(&self, addresses: &impl Fn(&Peer) -> Option<Addresses>) -> Vec<Element> {
        match self {
            Grant::Member(peer, arrival) => {
                let own = addresses(peer).into_iter().flat_map(|addresses| bridge_port::all(peer.mac, addresses));
                let of_one = |address: IpAddr| {
                    let speaker = format!("{address} . {}", peer.mac);
                    let member = element(Set::Member, address, format!("{arrival} . {speaker}"));
                    [Some(member), address.is_ipv4().then(|| element(Set::Speaker, address, speaker))]
                };
                own.flat_map(of_one).flatten().collect()
            }
            Grant::Port(peer, interface) => {
                let own = addresses(peer).into_iter().flat_map(|addresses| bridge_port::all(peer.mac, addresses));
                let key = |address| format!("{interface} . {} . {address}", peer.mac);
                own.map(|address| element(Set::Port, address, key(address))).collect()
            }
            Grant::Connect { client: Client::Container(client), server, port } => {
                let Some(clients) = addresses(client) else { return Vec::new() };
                of_each(addresses(server), |server| {
                    let client = clients.all().find(|client| client.is_ipv4() == server.is_ipv4());
                    client
                        .map(|client| connect([Set::AllowAll, Set::Allow], &client.to_string(), server, *port))
                        .into_iter()
                        .collect()
                })
            }
            Grant::Connect { client: Client::Network(network), server, port } => of_each(addresses(server), |server| {
                let fits = network.is_ipv4() == server.is_ipv4();
                fits.then(|| connect([Set::OutsideAll, Set::Outside], &network_text(network), server, *port))
                    .into_iter()
                    .collect()
            }),
            Grant::Publish(peer, publication) => of_each(addresses(peer), |address| publish(publication, address)),
            Grant::Limited(peer) => {
                of_each(addresses(peer), |address| vec![element(Set::Limited, address, address.to_string())])
            }
            Grant::Egress(peer, network) => of_each(addresses(peer), |address| {
                let fits = network.is_ipv4() == address.is_ipv4();
                let key = || format!("{address} . {}", network_text(network));
                fits.then(|| element(Set::Egress, address, key())).into_iter().collect()
            }),
        }
    }
}

fn of_each(addresses: Option<Addresses>, elements: impl Fn(IpAddr) -> Vec<Element>) -> Vec<Element> {
    addresses.iter().flat_map(Addresses::all).flat_map(elements).collect()
}

fn element(set: Set, address: IpAddr, key: String) -> Element {
    Element { set, family: Family::of(address), key, value: None }
}

fn connect([all, one]: [Set; 2], client: &str, server: IpAddr, port: Option<Port>) -> Element {
    match port {
        None => element(all, server, format!("{client} . {server}")),
        Some(Port { protocol, number }) => {
            element(one, server, format!("{client} . {server} . {} . {number}", protocol.as_str()))
        }
    }
}

fn publish(publication: &Publication, address: IpAddr) -> Vec<Element> {
    let protocol = publication.protocol.as_str();
    let (set, at) = match publication.address {
        None => (Set::Publish, String::new()),
        Some(at) if at.is_ipv4() == address.is_ipv4() => (Set::PublishAt, format!("{at} . ")),
        Some(_) => return Vec::new(),
    };
    let of_pair = |(host, inside): (u16, u16)| {
        let target = element(Set::Target, address, format!("{address} . {protocol} . {inside}"));
        let value = Some(format!("{address} . {inside}"));
        [target, Element { value, ..element(set, address, format!("{at}{protocol} . {host}")) }]
    };
    publication.pairs().flat_map(of_pair).collect()
}

/// The network as nftables has it: its first address, and no `/32` (an interval of one is an address to it).
fn network_text(network: &IpNetwork) -> String {
    let is_one = network.prefix() == if network.is_ipv4() { 32 } else { 128 };
    if is_one { network.ip().to_string() } else { format!("{}/{}", network.network(), network.prefix()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, last: u8) -> Peer {
        Peer { name: name.parse().unwrap(), mac: crate::network::MacAddress::new([2, 0, 0, 0, 0, last]) }
    }

    fn attachment(mode: NetworkMode, arrival: &str) -> Attachment {
        Attachment { interface: "v1a2b1".to_owned(), mode, arrival: arrival.to_owned() }
    }

    fn addresses(peer: &Peer) -> Option<Addresses> {
        let last = peer.mac.as_bytes()[5];
        let v6 = format!("fd00::{last}").parse().ok();
        (last < 9).then(|| Addresses { v4: Ipv4Addr::new(10, 0, 0, last), v6 })
    }

    fn texts(grants: &BTreeSet<Grant>) -> Vec<String> {
        let elements = grants.iter().flat_map(|grant| grant.elements(&addresses));
        let text = |element: Element| {
            let value = element.value.map(|value| format!(" : {value}")).unwrap_or_default();
            format!("{} {}{value}", element.set.name(element.family), element.key)
        };
        elements.map(text).collect()
    }

    #[test]
    fn a_link_and_an_allow_of_the_same_are_one_grant_for_both_protocols() {
        let (web, db) = (peer("web", 2), peer("db", 3));
        let port: Port = "5432".parse().unwrap();
        let mut consumer = NetworkPolicy::default();
        consumer.links.insert("sql".parse().unwrap(), super::super::rule::Link { provider: db.clone(), port });
        let mut provider = NetworkPolicy::default();
        let from = Client::Container(web.clone());
        provider.allow.insert(Allow { from, port: Some(port) });
        let by_link = grants(&web, &consumer, None);
        assert_eq!(by_link, grants(&db, &provider, None));
        let expected = ["allow4 10.0.0.2 . 10.0.0.3 . tcp . 5432", "allow6 fd00::2 . fd00::3 . tcp . 5432"];
        assert_eq!(texts(&by_link), expected);
    }

    #[test]
    fn what_runs_is_a_member_and_its_ports_are_published_also_at_one_address() {
        let mut policy = NetworkPolicy::default();
        let ports = |text: &str| text.parse().unwrap();
        policy.publish.insert(Publication::new(None, ports("8080-8081"), ports("80")).unwrap());
        let at = Some("192.0.2.1".parse().unwrap());
        policy.publish.insert(Publication::new(at, ports("53/udp"), ports("53")).unwrap());
        assert!(grants(&peer("web", 2), &policy, None).is_empty());
        let found = texts(&grants(&peer("web", 2), &policy, Some(&attachment(NetworkMode::Routed, "v1a2b1"))));
        for expected in [
            "member4 v1a2b1 . 10.0.0.2 . 02:00:00:00:00:02",
            "publish4 tcp . 8081 : 10.0.0.2 . 81",
            "publish6 tcp . 8080 : fd00::2 . 80",
            "target4 10.0.0.2 . tcp . 80",
            "publish_at4 192.0.2.1 . udp . 53 : 10.0.0.2 . 53",
        ] {
            assert!(found.iter().any(|text| text == expected), "{expected}: {found:?}");
        }
        assert!(!found.iter().any(|text| text.starts_with("publish_at6")));
    }

    #[test]
    fn what_is_at_the_bridge_speaks_from_its_port_with_its_addresses_alone() {
        let policy = NetworkPolicy::default();
        let texts = texts(&grants(&peer("web", 2), &policy, Some(&attachment(NetworkMode::Bridge, "appc0"))));
        let expected = [
            "member4 appc0 . 10.0.0.2 . 02:00:00:00:00:02",
            "speaker4 10.0.0.2 . 02:00:00:00:00:02",
            "member6 appc0 . fd00::2 . 02:00:00:00:00:02",
            "member6 appc0 . fe80::ff:fe00:2 . 02:00:00:00:00:02",
            "port4 v1a2b1 . 02:00:00:00:00:02 . 10.0.0.2",
            "port6 v1a2b1 . 02:00:00:00:00:02 . fd00::2",
            "port6 v1a2b1 . 02:00:00:00:00:02 . fe80::ff:fe00:2",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_names_a_container_that_is_gone_grants_nothing() {
        let mut policy = NetworkPolicy::default();
        let from = Client::Container(peer("gone", 9));
        policy.allow.insert(Allow { from, port: None });
        assert!(texts(&grants(&peer("web", 2), &policy, None)).is_empty());
    }

    #[test]
    fn a_network_within_another_is_not_told_to_the_kernel_as_long_as_that_is_there() {
        let network = |text: &str| Allow { from: Client::Network(text.parse().unwrap()), port: None };
        let mut policy = NetworkPolicy::default();
        policy.allow.extend([network("10.0.0.0/8"), network("10.1.0.0/16"), network("192.0.2.0/24")]);
        let found = texts(&grants(&peer("web", 2), &policy, None));
        assert_eq!(found, ["outside_all4 10.0.0.0/8 . 10.0.0.2", "outside_all4 192.0.2.0/24 . 10.0.0.2"]);
        policy.allow.remove(&network("10.0.0.0/8"));
        assert_eq!(texts(&grants(&peer("web", 2), &policy, None))[0], "outside_all4 10.1.0.0/16 . 10.0.0.2");
    }

    #[test]
    fn a_limited_container_has_a_list_of_networks() {
        let networks = ["192.0.2.7/24", "198.51.100.1/32", "2001:db8::/32"].map(|text| text.parse().unwrap());
        let policy = NetworkPolicy { egress: Egress::Only(networks.into()), ..NetworkPolicy::default() };
        let expected = [
            "limited4 10.0.0.2",
            "limited6 fd00::2",
            "egress4 10.0.0.2 . 192.0.2.0/24",
            "egress4 10.0.0.2 . 198.51.100.1",
            "egress6 fd00::2 . 2001:db8::/32",
        ];
        assert_eq!(texts(&grants(&peer("web", 2), &policy, None)), expected);
    }
}
