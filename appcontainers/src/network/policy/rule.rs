//! What a rule is made of: ports, who connects, what is published.

use std::{fmt, net::IpAddr, num::NonZeroU16, str::FromStr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::{ContainerName, network::MacAddress};

/// Ports that one publication may have.
pub const MOST_PUBLISHED_PORTS: u16 = 1024;

/// What has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name as nftables, and everybody else, has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl FromStr for Protocol {
    type Err = InvalidPort;
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err(InvalidPort { text: shorten(text) }),
        }
    }
}

/// A port of a protocol: `80`, `53/udp`.
///
/// # Examples
///
/// ```
/// use appcontainers::network::Port;
///
/// let port: Port = "53/udp".parse()?;
/// assert_eq!((port.number.get(), port.to_string().as_str()), (53, "53/udp"));
/// assert_eq!("80".parse::<Port>()?, "80/tcp".parse()?);
/// assert!("0".parse::<Port>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Port {
    /// Whose.
    pub protocol: Protocol,
    /// Which.
    pub number: NonZeroU16,
}

/// A string that is not a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a port: use 1 to 65535, for UDP with '/udp', as 80 or 53/udp")]
pub struct InvalidPort {
    text: String,
}

/// The beginning of what somebody typed, for an error.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

impl FromStr for Port {
    type Err = InvalidPort;
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let invalid = || InvalidPort { text: shorten(text) };
        let protocol = protocol.parse().map_err(|_| invalid())?;
        Ok(Self { protocol, number: port_number(number).ok_or_else(invalid)? })
    }
}

/// Digits alone: `+80` is a number to Rust, and to nobody who reads a firewall's rules.
fn port_number(text: &str) -> Option<NonZeroU16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl TryFrom<String> for Port {
    type Error = InvalidPort;
    fn try_from(text: String) -> Result<Self, InvalidPort> {
        text.parse()
    }
}

impl From<Port> for String {
    fn from(port: Port) -> String {
        port.to_string()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "{}", self.number),
            Protocol::Udp => write!(f, "{}/udp", self.number),
        }
    }
}

/// A container as a rule means it: by its name, and by its MAC, which no other container ever has. So a rule ends with its
/// container, also where the rule is found later than a new container of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: ContainerName,
    /// Its MAC.
    pub mac: MacAddress,
}

/// Who connects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// A container.
    Container(Peer),
    /// Whoever is outside, at these addresses.
    Network(IpNetwork),
}

impl Client {
    /// The container, if it is one.
    pub fn container(&self) -> Option<&Peer> {
        match self {
            Client::Container(peer) => Some(peer),
            Client::Network(_) => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Container(peer) => peer.name.fmt(f),
            Client::Network(network) => network.fmt(f),
        }
    }
}

/// Who may connect to a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allow {
    /// From where.
    pub from: Client,
    /// To which port; to all, of all protocols, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// Another container that a container knows by a service's name, and may connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// Which one.
    pub provider: Peer,
    /// At which port.
    pub port: Port,
}

/// Ports of the host that are a container's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Publication {
    /// At this address of the host's; at all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Whose ports.
    pub protocol: Protocol,
    /// The first on the host.
    pub host_port: NonZeroU16,
    /// The first in the container.
    pub port: NonZeroU16,
    /// How many in a row.
    pub count: NonZeroU16,
}

/// Why ports can't be published so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRange {
    /// Not ports.
    #[error(transparent)]
    Port(#[from] InvalidPort),
    /// No row of ports.
    #[error("{text:?} is no row of ports: use FIRST-LAST, as 8000-8010, with at most 1024 ports")]
    Range {
        /// What was written.
        text: String,
    },
    /// One side has more ports than the other.
    #[error("{host} ports of the host can't be {inside} of the container: name as many, or the first alone")]
    Lengths {
        /// On the host.
        host: u16,
        /// In the container.
        inside: u16,
    },
}

/// A port, or ports in a row: `80`, `8000-8010`, `5000-5009/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Whose.
    pub protocol: Protocol,
    /// The first.
    pub first: NonZeroU16,
    /// How many.
    pub count: NonZeroU16,
}

impl FromStr for PortRange {
    type Err = InvalidRange;
    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let invalid = || InvalidPort { text: shorten(text) };
        let number = |text: &str| port_number(text).ok_or_else(invalid);
        let (first, last) = match numbers.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(numbers)?, number(numbers)?),
        };
        let count = last.get().checked_sub(first.get()).and_then(|more| NonZeroU16::new(more.saturating_add(1)));
        let count = count.filter(|count| count.get() <= MOST_PUBLISHED_PORTS);
        let count = count.ok_or_else(|| InvalidRange::Range { text: shorten(text) })?;
        Ok(Self { protocol: protocol.parse().map_err(|_| invalid())?, first, count })
    }
}

/// Not what can be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPublication {
    /// One side is missing, or there is too much.
    #[error(
        "{text:?} publishes nothing: write [ADDRESS:]HOST_PORT:PORT, as 8080:80, 53/udp:53 or [2001:db8::1]:443:443"
    )]
    Form {
        /// What was written.
        text: String,
    },
    /// A side of it.
    #[error(transparent)]
    Range(#[from] InvalidRange),
}

impl FromStr for Publication {
    type Err = InvalidPublication;
    /// `[ADDRESS:]HOST_PORT[-LAST][/udp]:PORT[-LAST]`.
    fn from_str(text: &str) -> Result<Self, InvalidPublication> {
        let form = || InvalidPublication::Form { text: shorten(text) };
        let (host, inside) = text.rsplit_once(':').ok_or_else(form)?;
        let (address, host) = match host.rsplit_once(':') {
            Some((address, host)) => {
                let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
                (Some(address.parse().map_err(|_| form())?), host)
            }
            None => (None, host),
        };
        if inside.contains('/') {
            return Err(form());
        }
        Ok(Self::new(address, host.parse()?, inside.parse()?)?)
    }
}

impl Publication {
    /// Host's ports for a container's: as many on both sides, or the first of the container's alone.
    pub fn new(address: Option<IpAddr>, host: PortRange, inside: PortRange) -> Result<Self, InvalidRange> {
        let lengths = InvalidRange::Lengths { host: host.count.get(), inside: inside.count.get() };
        if inside.count != host.count && inside.count.get() != 1 {
            return Err(lengths);
        }
        if inside.first.get().checked_add(host.count.get() - 1).is_none() {
            return Err(lengths);
        }
        Ok(Self { address, protocol: host.protocol, host_port: host.first, port: inside.first, count: host.count })
    }

    /// Each port of the host with the container's.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let (host, inside) = (self.host_port.get(), self.port.get());
        (0..self.count.get()).map(move |offset| (host + offset, inside + offset))
    }

    /// The first port of the host that another publication wants as well; at different addresses both can have it.
    pub fn overlap(&self, other: &Self) -> Option<NonZeroU16> {
        let is_apart = self.protocol != other.protocol
            || matches!((self.address, other.address), (Some(one), Some(another)) if one != another);
        let last = |one: &Self| one.host_port.get() + (one.count.get() - 1);
        let first = self.host_port.max(other.host_port);
        (!is_apart && first.get() <= last(self).min(last(other))).then_some(first)
    }

    /// The host's side as it is typed.
    pub fn host_side(&self) -> String {
        self.row(self.host_port)
    }

    /// The container's side as it is typed.
    pub fn inside(&self) -> String {
        self.row(self.port)
    }

    fn row(&self, first: NonZeroU16) -> String {
        let first = first.get();
        let last = first + (self.count.get() - 1);
        let row = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match self.protocol {
            Protocol::Tcp => row,
            Protocol::Udp => format!("{row}/udp"),
        }
    }
}

/// Where a container may connect to outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// Everywhere but link-local addresses.
    #[default]
    All,
    /// Nowhere.
    None,
    /// There alone.
    Only(Vec<IpNetwork>),
}

impl Egress {
    /// Whether nothing is held back.
    pub fn is_all(&self) -> bool {
        *self == Egress::All
    }
}

/// Not where a container may connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no network: use all, none, or networks as 192.0.2.0/24,2001:db8::/32")]
pub struct InvalidEgress {
    text: String,
}

impl FromStr for Egress {
    type Err = InvalidEgress;
    /// `all`, `none`, or networks with commas between them.
    fn from_str(text: &str) -> Result<Self, InvalidEgress> {
        let network = |text: &str| text.trim().parse().map_err(|_| InvalidEgress { text: shorten(text) });
        match text {
            "all" => Ok(Egress::All),
            "none" => Ok(Egress::None),
            networks => networks.split(',').map(network).collect::<Result<_, _>>().map(Egress::Only),
        }
    }
}

impl fmt::Display for Egress {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Egress::All => f.write_str("all"),
            Egress::None => f.write_str("none"),
            Egress::Only(networks) => {
                f.write_str(&networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_digits_and_a_protocol() {
        for (text, shown) in [("80", "80"), ("80/tcp", "80"), ("53/udp", "53/udp"), ("65535", "65535")] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), shown);
        }
        for bad in ["", "0", "65536", "+80", "-1", "80/sctp", "80/", "/udp", "http", "8 0", "80\n"] {
            assert!(bad.parse::<Port>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn two_publications_that_want_one_port_at_one_address_overlap() {
        let at = |host: &str, address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            Publication::new(address, host.parse().unwrap(), "9000".parse().unwrap()).unwrap()
        };
        let overlap = |one: &Publication, other| one.overlap(&other).map(NonZeroU16::get);
        let row = at("8000-8010", None);
        assert_eq!(overlap(&row, at("8010-8020", None)), Some(8010));
        assert_eq!(overlap(&row, at("8005", Some("192.0.2.1"))), Some(8005));
        for apart in [at("8011", None), at("7999", None), at("8005/udp", None)] {
            assert_eq!(overlap(&row, apart), None);
        }
        assert_eq!(overlap(&at("80", Some("192.0.2.1")), at("80", Some("192.0.2.2"))), None);
    }

    #[test]
    fn a_publication_is_written_with_colons() {
        let parse = |text: &str| text.parse::<Publication>();
        assert_eq!(
            parse("8080:80").unwrap(),
            Publication::new(None, "8080".parse().unwrap(), "80".parse().unwrap()).unwrap()
        );
        assert_eq!(parse("53/udp:53").unwrap().protocol, Protocol::Udp);
        assert_eq!(parse("8000-8010:9000").unwrap().count.get(), 11);
        assert_eq!(parse("[2001:db8::1]:443:8443").unwrap().address, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(parse("192.0.2.1:443:443").unwrap().address, Some("192.0.2.1".parse().unwrap()));
        for bad in ["80", "", ":", "80:", ":80", "a:80:80", "80:80/udp", "80:80:80:80"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_row_of_ports_is_as_long_on_both_sides() {
        let range = |text: &str| text.parse::<PortRange>();
        let published = |host, inside| Publication::new(None, range(host).unwrap(), range(inside).unwrap());
        let one = published("8000-8002/udp", "9000").unwrap();
        assert_eq!(one.pairs().collect::<Vec<_>>(), [(8000, 9000), (8001, 9001), (8002, 9002)]);
        assert_eq!((one.host_side().as_str(), one.protocol), ("8000-8002/udp", Protocol::Udp));
        assert_eq!(published("8000-8002", "9000-9002").unwrap().count.get(), 3);
        assert!(published("8000-8002", "9000-9001").is_err());
        assert!(published("8000-8002", "65534").is_err());
        for bad in ["8002-8000", "1-1025", "1-65535", "-80", "80-", "1-2-3"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
