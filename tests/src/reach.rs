//! Who is expected to reach whom, and whether it is so, with packets.

use std::collections::BTreeSet;

use crate::{Probe, Prober, Said};

/// From one place to another: `tcp` or `udp` at one of the ports, or `icmp`; in IPv4 (0) or IPv6 (1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    from: String,
    to: String,
    kind: &'static str,
    port: u16,
    version: usize,
}

/// The ways that are open. At first those of the default policy: from the host everywhere, from containers to the outside, and
/// from the outside to the host.
#[derive(Debug, Clone)]
pub struct Reach {
    open: BTreeSet<Way>,
    all: BTreeSet<Way>,
    /// What was sent where nothing is open, and must not be seen later, either.
    forbidden: BTreeSet<String>,
}

impl Reach {
    /// Among these containers, the host and a neighbour.
    pub fn by_default(containers: &[&str]) -> Self {
        let mut all = BTreeSet::new();
        let places: Vec<_> = containers.iter().copied().chain(["host", "outside"]).collect();
        let pairs = places.iter().flat_map(|from| places.iter().map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            let at_ports = Prober::PORTS.iter().flat_map(|port| [("tcp", *port), ("udp", *port)]);
            for (kind, port) in at_ports.chain([("icmp", 0)]) {
                for version in [0, 1] {
                    all.insert(Way { from: (*from).to_owned(), to: (*to).to_owned(), kind, port, version });
                }
            }
        }
        let is_open =
            |way: &&Way| way.from == "host" || way.to == "outside" || (way.from == "outside" && way.to == "host");
        Self { open: all.iter().filter(is_open).cloned().collect(), all, forbidden: BTreeSet::new() }
    }

    /// Says that all ways from one to another are open.
    pub fn open(&mut self, from: &str, to: &str) {
        self.set(true, |way| way.from == from && way.to == to);
    }

    /// Says that the way at one port is open.
    pub fn open_at(&mut self, from: &str, to: &str, kind: &str, port: u16) {
        self.set(true, |way| way.from == from && way.to == to && way.kind == kind && way.port == port);
    }

    /// Says that none is.
    pub fn close(&mut self, from: &str, to: &str) {
        self.set(false, |way| way.from == from && way.to == to);
    }

    /// Says that none is in one of the protocols: 0 for IPv4, 1 for IPv6.
    pub fn close_version(&mut self, from: &str, to: &str, version: usize) {
        self.set(false, |way| way.from == from && way.to == to && way.version == version);
    }

    fn set(&mut self, is_open: bool, is_meant: impl Fn(&Way) -> bool) {
        let meant: Vec<_> = self.all.iter().filter(|way| is_meant(way)).cloned().collect();
        assert!(!meant.is_empty(), "there is no such way");
        for way in meant {
            if is_open {
                self.open.insert(way);
            } else {
                self.open.remove(&way);
            }
        }
    }

    /// Tries every way, open or not; `when` is for whoever reads what was not as expected.
    #[track_caller]
    pub fn check(&mut self, places: &[&Prober], when: &str) {
        let place = |name: &str| *places.iter().find(|place| place.name() == name).expect("a place of this name");
        let ways: Vec<_> = self.all.iter().collect();
        let probes: Vec<_> =
            ways.iter().map(|way| Probe::new(way.kind, place(&way.to).addresses()[way.version], way.port)).collect();
        let of = |from: &str| -> Vec<_> { ways.iter().zip(&probes).filter(|(way, _)| way.from == from).collect() };
        for from in places {
            let probes: Vec<_> = of(from.name()).into_iter().map(|(_, probe)| probe.clone()).collect();
            from.begin(&probes);
        }
        // When these are answered, all that was sent before has arrived, or never does.
        for to in places {
            let control = place(if to.name() == "host" { "outside" } else { "host" });
            for kind in ["tcp", "udp", "icmp"] {
                for address in to.addresses() {
                    control.gets(kind, address, Prober::PORTS[0]);
                }
            }
        }
        let mut wrong = Vec::new();
        let mut through = BTreeSet::new();
        for from in places {
            let needed: Vec<_> = of(from.name()).iter().map(|(way, _)| self.open.contains(**way)).collect();
            for ((way, probe), said) in of(from.name()).into_iter().zip(from.end(&needed)) {
                let expected = self.open.contains(*way);
                let answers = match &said {
                    Said::Answer(text) => text.starts_with(if way.kind == "icmp" { "echo" } else { way.to.as_str() }),
                    _ => false,
                };
                if answers != expected {
                    wrong.push(format!("{way:?} is {}: {said:?}", if expected { "open" } else { "closed" }));
                }
                if expected {
                    through.insert(probe.token().to_owned());
                } else {
                    self.forbidden.insert(probe.token().to_owned());
                }
            }
        }
        for to in places {
            let seen = to.seen();
            wrong.extend(seen.intersection(&self.forbidden).map(|token| format!("{} saw {token}", to.name())));
        }
        assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
        assert_eq!(through.len(), self.open.len());
    }
}
