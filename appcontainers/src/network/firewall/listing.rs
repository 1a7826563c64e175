//! What is in the table in the kernel, with its counters: the text of `nft -j list table`, understood. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::element::{Element, Set};

/// What has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes, with the headers of IP.
    pub bytes: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The table as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listing {
    /// Its elements, with what each has let through; nothing for those without a counter.
    pub(crate) elements: BTreeMap<Element, Traffic>,
    /// How many rules its chains have.
    pub(crate) rules: usize,
}

#[derive(Deserialize)]
struct Output {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(alias = "map")]
    set: Option<Members>,
    rule: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Members {
    name: String,
    #[serde(default)]
    elem: Vec<Value>,
}

impl Listing {
    /// Understands what `nft` printed. What is in no set of ours is left out.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let output: Output = serde_json::from_str(text)?;
        let mut listing = Self::default();
        for item in output.nftables {
            listing.rules += usize::from(item.rule.is_some());
            let Some(members) = item.set else { continue };
            let Some((set, family)) = Set::named(&members.name) else { continue };
            for (key, value, traffic) in members.elem.iter().map(element) {
                listing.elements.insert(Element { set, family, key, value }, traffic);
            }
        }
        Ok(listing)
    }
}

/// `KEY`, or in a map `[KEY, VALUE]`; each may stand within `{"elem": {"val": …, "counter": …}}`.
fn element(shown: &Value) -> (String, Option<String>, Traffic) {
    match shown {
        Value::Array(pair) if pair.len() == 2 => {
            let (key, _, traffic) = element(&pair[0]);
            (key, Some(text(&pair[1])), traffic)
        }
        shown => match shown.get("elem") {
            None => (text(shown), None, Traffic::default()),
            Some(inner) => {
                let number = |name: &str| inner["counter"][name].as_u64().unwrap_or(0);
                (text(&inner["val"]), None, Traffic { packets: number("packets"), bytes: number("bytes") })
            }
        },
    }
}

/// As it is written in a script.
fn text(value: &Value) -> String {
    if let Some(Value::Array(parts)) = value.get("concat") {
        return parts.iter().map(text).collect::<Vec<_>>().join(" . ");
    }
    if let Some(prefix) = value.get("prefix") {
        let address = text(&prefix["addr"]);
        return format!("{address}/{}", text(&prefix["len"]));
    }
    if let Some(Value::Array(ends)) = value.get("range")
        && let [first, last] = &ends[..]
    {
        let (first, last) = (text(first), text(last));
        return network_between(&first, &last).unwrap_or_else(|| format!("{first}-{last}"));
    }
    match value {
        Value::String(text) => text.parse::<IpAddr>().map_or_else(|_| text.clone(), |address| address.to_string()),
        other => other.to_string(),
    }
}

/// The network that has just these addresses.
fn network_between(first: &str, last: &str) -> Option<String> {
    let (first, last) = (first.parse::<IpAddr>().ok()?, last.parse::<IpAddr>().ok()?);
    let longest = if first.is_ipv4() { 32 } else { 128 };
    let is_it = |network: &IpNetwork| network.network() == first && network.broadcast() == last;
    (0..=longest).filter_map(|prefix| IpNetwork::new(first, prefix).ok()).find(is_it).map(|network| network.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::firewall::Family;

    #[test]
    fn a_listing_has_the_elements_as_they_were_written_and_what_passed() {
        let shown = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"inet","name":"t","handle":1}},
            {"set":{"family":"inet","name":"member4","table":"t","type":["ipv4_addr","ether_addr"],"handle":2,
             "elem":[{"concat":["10.0.0.2","02:00:00:00:00:02"]}]}},
            {"set":{"family":"inet","name":"allow4","table":"t","handle":3,"elem":[{"elem":{"val":{"concat":
             ["10.0.0.2","10.0.0.3","tcp",80]},"counter":{"packets":3,"bytes":180}}}],"stmt":[{"counter":null}]}},
            {"set":{"family":"inet","name":"outside_all6","table":"t","handle":4,"elem":[{"elem":{"val":{"concat":
             [{"prefix":{"addr":"fc00::","len":7}},"fd00::3"]},"counter":{"packets":0,"bytes":0}}}]}},
            {"set":{"family":"inet","name":"outside_all4","table":"t","handle":4,"elem":[{"elem":{"val":{"concat":
             [{"range":["0.0.0.0","255.255.255.255"]},"10.0.0.3"]},"counter":{"packets":0,"bytes":0}}}]}},
            {"map":{"family":"inet","name":"publish4","table":"t","map":"ipv4_addr . inet_service",
             "elem":[[{"concat":["tcp",8080]},{"concat":["10.0.0.2",80]}]]}},
            {"set":{"family":"inet","name":"limited4","table":"t","type":"ipv4_addr","elem":["10.0.0.2"]}},
            {"set":{"family":"inet","name":"anothers","table":"t","type":"ipv4_addr","elem":["10.0.0.2"]}},
            {"chain":{"family":"inet","table":"t","name":"c","handle":1}},
            {"rule":{"family":"inet","table":"t","chain":"c","handle":9,"expr":[{"drop":null}]}}]}"#;
        let listing = Listing::parse(shown).unwrap();
        assert_eq!(listing.rules, 1);
        let of = |set, family, key: &str, value: Option<&str>| {
            let element = Element { set, family, key: key.to_owned(), value: value.map(str::to_owned) };
            listing.elements.get(&element).copied()
        };
        let passed = Some(Traffic { packets: 3, bytes: 180 });
        assert_eq!(of(Set::Allow, Family::V4, "10.0.0.2 . 10.0.0.3 . tcp . 80", None), passed);
        for (set, family, key, value) in [
            (Set::Member, Family::V4, "10.0.0.2 . 02:00:00:00:00:02", None),
            (Set::OutsideAll, Family::V6, "fc00::/7 . fd00::3", None),
            (Set::OutsideAll, Family::V4, "0.0.0.0/0 . 10.0.0.3", None),
            (Set::Publish, Family::V4, "tcp . 8080", Some("10.0.0.2 . 80")),
            (Set::Limited, Family::V4, "10.0.0.2", None),
        ] {
            assert_eq!(of(set, family, key, value), Some(Traffic::default()), "{key}");
        }
        assert_eq!(listing.elements.len(), 6);
        assert!(Listing::parse("table inet t {").is_err());
    }
}
