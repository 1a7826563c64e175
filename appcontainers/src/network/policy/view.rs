//! The rules of containers one by one, for those who look, with what each has let through. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    NetworkPolicy,
    grant::{Addresses, Grant},
    rule::{Client, Egress, Peer, Publication},
};
use crate::{
    ContainerName, Hostname,
    network::firewall::{Element, Set, Traffic},
};

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// `from`, a container or a network outside, may connect to container `to`.
    Allow,
    /// Container `from` may connect to container `to`, and knows it as `service`.
    Link,
    /// What comes to the host at `from` goes to container `to`.
    Publish,
    /// Container `from`, which may not connect to everything outside, may connect to network `to`.
    Egress,
}

impl RuleKind {
    /// As listings say it.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleKind::Allow => "allow",
            RuleKind::Link => "link",
            RuleKind::Publish => "publish",
            RuleKind::Egress => "egress",
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Rule {
    /// What it is about.
    pub kind: RuleKind,
    /// Who connects: a container, a network, or for what is published the host's ports as `*:8080`, `192.0.2.1:53/udp`.
    pub from: String,
    /// To whom: a container or a network.
    pub to: String,
    /// At which port of that, or ports; at all if absent.
    pub port: Option<String>,
    /// The name by which a link's consumer knows its provider.
    pub service: Option<Hostname>,
    /// The containers that it concerns.
    #[serde(skip)]
    pub containers: BTreeSet<ContainerName>,
}

/// A rule, and what it has let through since its element is in the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CountedRule {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// In both directions. Two rules that grant the same, a link and an allow, have one count.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// A container's own rules, with the elements of the table that count for each.
pub(super) fn rules_of(
    owner: &Peer,
    policy: &NetworkPolicy,
    addresses: &impl Fn(&Peer) -> Option<Addresses>,
) -> Vec<(Rule, Vec<Element>)> {
    let mut rules = Vec::new();
    let own = owner.name.to_string();
    let mut push = |kind, from: String, to: String, port, service, grant: Grant| {
        let containers = grant.peers().map(|peer| peer.name.clone()).collect();
        let counts = |element: &Element| !matches!(element.set, Set::Publish | Set::PublishAt);
        let elements: BTreeSet<_> = grant.elements(addresses).into_iter().filter(counts).collect();
        rules.push((Rule { kind, from, to, port, service, containers }, elements.into_iter().collect()));
    };
    for allow in &policy.allow {
        let grant = Grant::Connect { client: allow.from.clone(), server: owner.clone(), port: allow.port };
        let port = allow.port.map(|port| port.to_string());
        push(RuleKind::Allow, allow.from.to_string(), own.clone(), port, None, grant);
    }
    for (service, link) in &policy.links {
        let client = Client::Container(owner.clone());
        let grant = Grant::Connect { client, server: link.provider.clone(), port: Some(link.port) };
        let (to, port) = (link.provider.name.to_string(), Some(link.port.to_string()));
        push(RuleKind::Link, own.clone(), to, port, Some(service.clone()), grant);
    }
    for publication in &policy.publish {
        let grant = Grant::Publish(owner.clone(), publication.clone());
        push(RuleKind::Publish, host_side(publication), own.clone(), Some(publication.inside()), None, grant);
    }
    if let Egress::Only(networks) = &policy.egress {
        for network in networks {
            let grant = Grant::Egress(owner.clone(), *network);
            push(RuleKind::Egress, own.clone(), network.to_string(), None, None, grant);
        }
    }
    rules
}

/// `*:8080`, `192.0.2.1:8080-8090`, `[2001:db8::1]:53/udp`.
fn host_side(publication: &Publication) -> String {
    let ports = publication.host_side();
    match publication.address {
        None => format!("*:{ports}"),
        Some(std::net::IpAddr::V6(address)) => format!("[{address}]:{ports}"),
        Some(address) => format!("{address}:{ports}"),
    }
}

/// What elements have let through together.
pub(super) fn sum(elements: &[Element], counted: &BTreeMap<Element, Traffic>) -> Traffic {
    let mut sum = Traffic::default();
    for traffic in elements.iter().filter_map(|element| counted.get(element)) {
        sum += *traffic;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{
        MacAddress,
        firewall::Family,
        policy::rule::{Allow, Link},
    };

    fn peer(name: &str, last: u8) -> Peer {
        Peer { name: name.parse().unwrap(), mac: MacAddress::new([2, 0, 0, 0, 0, last]) }
    }

    fn addresses(peer: &Peer) -> Option<Addresses> {
        let last = peer.mac.as_bytes()[5];
        Some(Addresses { v4: [10, 0, 0, last].into(), v6: format!("fd00::{last}").parse().ok() })
    }

    #[test]
    fn a_rule_is_told_with_its_ends_and_counts_what_passed_in_both_protocols() {
        let (web, db) = (peer("web", 2), peer("db", 3));
        let mut policy = NetworkPolicy::default();
        policy.allow.insert(Allow { from: Client::Container(db.clone()), port: None });
        policy
            .allow
            .insert(Allow { from: Client::Network("192.0.2.0/24".parse().unwrap()), port: "53/udp".parse().ok() });
        policy.links.insert("sql".parse().unwrap(), Link { provider: db, port: "5432".parse().unwrap() });
        let range = |text: &str| text.parse().unwrap();
        policy.publish.insert(Publication::new(None, range("8000-8001"), range("80")).unwrap());
        let at = "2001:db8::1".parse().ok();
        policy.publish.insert(Publication::new(at, range("53/udp"), range("53")).unwrap());
        policy.egress = Egress::Only(vec!["198.51.100.0/24".parse().unwrap()]);
        let rules = rules_of(&web, &policy, &addresses);
        let shown = |(rule, elements): &(Rule, Vec<Element>)| {
            let port = rule.port.clone().unwrap_or_default();
            format!("{} {} {} {port} {}", rule.kind.as_str(), rule.from, rule.to, elements.len())
        };
        let expected = [
            "allow db web  2",
            "allow 192.0.2.0/24 web 53/udp 1",
            "link web db 5432 2",
            "publish *:8000-8001 web 80-81 4",
            "publish [2001:db8::1]:53/udp web 53/udp 1",
            "egress web 198.51.100.0/24  1",
        ];
        assert_eq!(rules.iter().map(shown).collect::<Vec<_>>(), expected);
        assert_eq!(rules[2].0.containers, ["db", "web"].map(|name| name.parse().unwrap()).into());
        let counted =
            [(Family::V4, "10.0.0.2 . 10.0.0.3 . tcp . 5432", 1), (Family::V6, "fd00::2 . fd00::3 . tcp . 5432", 2)];
        let counted = counted.map(|(family, key, packets)| {
            let element = Element { set: Set::Allow, family, key: key.to_owned(), value: None };
            (element, Traffic { packets, bytes: 10 * packets })
        });
        assert_eq!(sum(&rules[2].1, &counted.into()), Traffic { packets: 3, bytes: 30 });
    }
}
