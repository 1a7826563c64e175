//! Elements of the table's sets and maps, and the text by which nftables changes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::IpAddr,
};

/// The sets and maps, each once for IPv4 (its name ends with 4) and once for IPv6.
///
/// The names of fields are those of the packet that opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Set {
    /// interface, source, MAC: containers that run, and the only packets that are theirs.
    Member,
    /// source, destination: one container may connect to another, at every port.
    AllowAll,
    /// source, destination, protocol, port: likewise, at one.
    Allow,
    /// source network, destination: those outside may connect to a container, at every port.
    OutsideAll,
    /// source network, destination, protocol, port: likewise, at one.
    Outside,
    /// protocol, port of the host -> address, port of a container.
    Publish,
    /// address of the host, protocol, port -> address, port of a container.
    PublishAt,
    /// address, protocol, port of containers that something is published of.
    Target,
    /// source: containers that may not connect to everything outside.
    Limited,
    /// source, destination network: where they may.
    Egress,
    /// port of the bridge, MAC, address: containers at the bridge, and the only frames that are theirs. In a table of its own.
    Port,
    /// address, MAC: as [`Self::Member`] without the interface, for what is asked and said on a container's link. In a table of its own.
    Speaker,
}

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TableFamily {
    /// Packets.
    Inet,
    /// Questions and answers whose MAC an address is.
    Arp,
    /// Frames from the bridge's ports.
    Bridge,
}

impl TableFamily {
    /// As nftables has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TableFamily::Inet => "inet",
            TableFamily::Arp => "arp",
            TableFamily::Bridge => "bridge",
        }
    }
}

impl Set {
    /// All of the table of the family inet, in the order in which they are shown.
    pub(crate) const ALL: [Set; 10] = [
        Set::Member,
        Set::AllowAll,
        Set::Allow,
        Set::OutsideAll,
        Set::Outside,
        Set::Publish,
        Set::PublishAt,
        Set::Target,
        Set::Limited,
        Set::Egress,
    ];

    fn stem(self) -> &'static str {
        match self {
            Set::Member => "member",
            Set::AllowAll => "allow_all",
            Set::Allow => "allow",
            Set::OutsideAll => "outside_all",
            Set::Outside => "outside",
            Set::Publish => "publish",
            Set::PublishAt => "publish_at",
            Set::Target => "target",
            Set::Limited => "limited",
            Set::Egress => "egress",
            Set::Port => "port",
            Set::Speaker => "speaker",
        }
    }

    /// The family of its table.
    fn table_family(self) -> TableFamily {
        match self {
            Set::Port => TableFamily::Bridge,
            Set::Speaker => TableFamily::Arp,
            _ => TableFamily::Inet,
        }
    }

    /// Its name in the table, for a family.
    pub(crate) fn name(self, family: Family) -> String {
        format!("{}{}", self.stem(), family.digit())
    }

    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<(Self, Family)> {
        let family = Family::ALL.into_iter().find(|family| name.ends_with(family.digit()))?;
        let stem = name.strip_suffix(family.digit())?;
        Self::ALL.into_iter().chain([Set::Port, Set::Speaker]).find(|set| set.stem() == stem).map(|set| (set, family))
    }

    /// Its definition.
    pub(super) fn definition(self, family: Family) -> String {
        let address = family.address_type();
        let port = "inet_proto . inet_service";
        let (kind, of, more) = match self {
            Set::Member => ("set", format!("ifname . {address} . ether_addr"), ""),
            Set::AllowAll => ("set", format!("{address} . {address}"), "counter; "),
            Set::Allow => ("set", format!("{address} . {address} . {port}"), "counter; "),
            Set::OutsideAll => ("set", format!("{address} . {address}"), "flags interval; counter; "),
            Set::Outside => ("set", format!("{address} . {address} . {port}"), "flags interval; counter; "),
            Set::Publish => ("map", format!("{port} : {address} . inet_service"), ""),
            Set::PublishAt => ("map", format!("{address} . {port} : {address} . inet_service"), ""),
            Set::Target => ("set", format!("{address} . {port}"), "counter; "),
            Set::Limited => ("set", address.to_owned(), ""),
            Set::Egress => ("set", format!("{address} . {address}"), "flags interval; counter; "),
            Set::Port => ("set", format!("ifname . ether_addr . {address}"), ""),
            Set::Speaker => ("set", format!("{address} . ether_addr"), ""),
        };
        format!("{kind} {} {{ type {of}; {more}}}", self.name(family))
    }
}

/// Which of the two internet protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl Family {
    /// Both.
    pub(crate) const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// That of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn digit(self) -> char {
        match self {
            Family::V4 => '4',
            Family::V6 => '6',
        }
    }

    fn address_type(self) -> &'static str {
        match self {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        }
    }
}

/// An element: where it belongs, what it is asked for by, and for a map what it gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Element {
    /// Its set or map.
    pub(crate) set: Set,
    /// For which protocol.
    pub(crate) family: Family,
    /// Its key, as nftables reads it.
    pub(crate) key: String,
    /// What the key maps to.
    pub(crate) value: Option<String>,
}

/// A script for `nft -f` that makes the table lose `gone` and have `new`, in one transaction. What is gone already
/// is no error, nor is what is there.
pub(super) fn script(table: &str, gone: &BTreeSet<Element>, new: &BTreeSet<Element>) -> String {
    let mut script = String::new();
    // Deleting what is not there fails, so it is added first.
    for (verb, elements) in [("add", gone), ("delete", gone), ("add", new)] {
        let mut by_set: BTreeMap<_, Vec<&Element>> = BTreeMap::new();
        for element in elements {
            by_set.entry((element.set, element.family)).or_default().push(element);
        }
        for ((set, family), elements) in by_set {
            let _ = write!(script, "{verb} element {} {table} {} {{ ", set.table_family().as_str(), set.name(family));
            for element in elements {
                script.push_str(&element.key);
                if let Some(value) = &element.value {
                    let _ = write!(script, " : {value}");
                }
                script.push_str(", ");
            }
            script.push_str("}\n");
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_script_and_what_is_deleted_is_added_first() {
        let element = |key: &str| Element { set: Set::Allow, family: Family::V4, key: key.to_owned(), value: None };
        let mapped = Element { set: Set::Publish, value: Some("10.0.0.2 . 80".to_owned()), ..element("tcp . 8080") };
        let script = script("t", &[element("a")].into(), &[element("b"), element("c"), mapped].into());
        let expected = "add element inet t allow4 { a, }\ndelete element inet t allow4 { a, }\n\
            add element inet t allow4 { b, c, }\nadd element inet t publish4 { tcp . 8080 : 10.0.0.2 . 80, }\n";
        assert_eq!(script, expected);
    }
}
