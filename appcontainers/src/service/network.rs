//! What the containers' network is, and what goes through it.

use std::{
    collections::HashMap,
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use ipnetwork::{Ipv4Network, Ipv6Network};
use serde::Serialize;

use super::Service;
use crate::{
    Container, ContainerName, Error,
    network::{
        HostNetwork, MacAddress, Reservation, Reservations, Traffic, bridge, forwarding,
        policy::{self, CountedRule, Egress, NetworkPolicy, Rule},
        table,
    },
    runtime::{self, Status},
    stats::{Network, interfaces},
};

/// The network of one container in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkSummary {
    /// The container.
    pub name: ContainerName,
    /// Whether it runs.
    pub status: Status,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its address in IPv6, where this host has that.
    pub ip6: Option<Ipv6Addr>,
    /// Its interface's address.
    pub mac: MacAddress,
    /// The host's end of its interface, while it runs.
    pub interface: Option<String>,
    /// Where it may connect to outside.
    pub egress: Egress,
    /// How many rules concern it.
    pub rules: usize,
}

/// The network of one container, with its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerNetwork {
    /// The container.
    pub name: ContainerName,
    /// Whether it runs.
    pub status: Status,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its address in IPv6, where this host has that.
    pub ip6: Option<Ipv6Addr>,
    /// Its interface's address.
    pub mac: MacAddress,
    /// The host's end of its interface, while it runs.
    pub interface: Option<String>,
    /// Where it may connect to outside.
    pub egress: Egress,
    /// All rules that concern it.
    pub rules: Vec<CountedRule>,
}

/// The host's side of the containers' network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostNetworkDetails {
    /// The containers' network.
    pub subnet: Ipv4Network,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// The containers' network in IPv6, where this host has that.
    pub subnet6: Option<Ipv6Network>,
    /// The host's address in it.
    pub gateway6: Option<Ipv6Addr>,
    /// The bridge that holds the gateway's addresses.
    pub bridge: String,
    /// The nftables table, in the family inet.
    pub table: String,
    /// Whether the host forwards IPv4.
    pub forwarding: bool,
    /// Whether the host forwards IPv6.
    pub forwarding6: bool,
    /// Whether it is set up, as it is after the first start since the host's boot.
    pub up: bool,
}

/// What goes through, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TrafficRate {
    /// Packets.
    pub packets_per_second: u64,
    /// Bytes.
    pub bytes_per_second: u64,
}

/// What a container that runs receives and sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerTraffic {
    /// The container.
    pub name: ContainerName,
    /// What it receives.
    pub rx: TrafficRate,
    /// What it sends.
    pub tx: TrafficRate,
}

/// What a rule lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleTraffic {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// In both directions.
    #[serde(flatten)]
    pub rate: TrafficRate,
}

/// What went through between two samples; the busiest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkUsage {
    /// Of containers that run.
    pub containers: Vec<ContainerTraffic>,
    /// Of all rules.
    pub rules: Vec<RuleTraffic>,
}

/// Takes samples, and keeps the last one for the rates of the next.
///
/// # Examples
///
/// ```no_run
/// use std::{thread, time::Duration};
///
/// use appcontainers::{Paths, Service};
///
/// let mut meter = Service::open(Paths::from_env()?).network_meter(None)?;
/// meter.measure()?;
/// thread::sleep(Duration::from_secs(1));
/// for container in meter.measure()?.containers {
///     println!("{} receives {} bytes/s", container.name, container.rx.bytes_per_second);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NetworkMeter {
    service: Service,
    only: Option<ContainerName>,
    earlier: Option<Sample>,
}

#[derive(Debug)]
struct Sample {
    taken: Instant,
    /// By the interface's name, which no other start has.
    interfaces: HashMap<String, Network>,
    rules: HashMap<Rule, Traffic>,
}

impl Service {
    /// The networks of all containers, by name.
    pub fn networks(&self) -> Result<Vec<NetworkSummary>, Error> {
        let reservations = Reservations::read(&self.paths)?;
        let mut rules: HashMap<ContainerName, usize> = HashMap::new();
        for rule in policy::all_rules(&self.paths, &reservations) {
            for name in rule.containers {
                *rules.entry(name).or_default() += 1;
            }
        }
        let summary = |one: Reservation| {
            let (status, interface) = self.interface(&one.name)?;
            Ok(NetworkSummary {
                status,
                ip: one.ip,
                ip6: reservations.settings().addresses(one.ip).v6,
                mac: one.mac,
                interface,
                egress: NetworkPolicy::load_or_none(&self.paths, &one.name).egress,
                rules: rules.get(&one.name).copied().unwrap_or(0),
                name: one.name,
            })
        };
        reservations.list().into_iter().map(summary).collect()
    }

    /// The host's side of the containers' network.
    pub fn host_network(&self) -> Result<HostNetworkDetails, Error> {
        let reservations = Reservations::read(&self.paths)?;
        let settings = reservations.settings();
        let gateway6 = settings.addresses(settings.gateway).v6;
        let [forwarding, forwarding6] = forwarding();
        Ok(HostNetworkDetails {
            subnet: settings.subnet,
            gateway: settings.gateway,
            subnet6: settings.subnet6.filter(|_| gateway6.is_some()),
            gateway6,
            bridge: bridge(&self.paths),
            table: table(&self.paths),
            forwarding,
            forwarding6,
            up: HostNetwork::find(&self.paths).map_err(policy::PolicyError::from)?.is_some(),
        })
    }

    /// For samples of what goes through one after the other: of all containers, or of what concerns one.
    pub fn network_meter(&self, only: Option<ContainerName>) -> Result<NetworkMeter, Error> {
        if let Some(name) = &only {
            self.container(name)?;
        }
        Ok(NetworkMeter { service: self.clone(), only, earlier: None })
    }

    /// Whether a container runs, and then the host's end of its interface.
    fn interface(&self, name: &ContainerName) -> Result<(Status, Option<String>), Error> {
        let status = runtime::status(&self.paths, name)?;
        let interface = policy::host_interface(&self.paths, name).filter(|_| status == Status::Running);
        Ok((status, interface))
    }
}

impl Container {
    /// The container's network, with all rules that concern it and what each has let through.
    pub fn network(&self) -> Result<ContainerNetwork, Error> {
        self.record()?;
        let service = Service::open(self.paths().clone());
        let (settings, reservation) = crate::network::find(&service.paths, self.name())?;
        let unknown = || crate::network::ReservationError::Unknown { name: self.name().clone() };
        let reservation = reservation.ok_or_else(unknown)?;
        let (status, interface) = service.interface(self.name())?;
        Ok(ContainerNetwork {
            name: reservation.name,
            status,
            ip: reservation.ip,
            ip6: settings.addresses(reservation.ip).v6,
            mac: reservation.mac,
            interface,
            egress: NetworkPolicy::load(&service.paths, self.name())?.egress,
            rules: policy::counted_rules_of(&service.paths, self.name())?,
        })
    }
}

impl NetworkMeter {
    /// What went through since the last call; nothing in the first one. What began in between counts from its beginning.
    pub fn measure(&mut self) -> Result<NetworkUsage, Error> {
        let paths = &self.service.paths;
        let reservations = Reservations::read(paths)?;
        let concerns = |name: &ContainerName| self.only.as_ref().is_none_or(|only| only == name);
        let taken = Instant::now();
        let mut rules = policy::all_counted_rules(paths, &reservations)?;
        rules.retain(|counted| counted.rule.containers.iter().any(concerns));
        let interfaces = interfaces(&fs::read_to_string("/proc/net/dev").unwrap_or_default());
        let seconds = self.earlier.as_ref().map(|earlier| (taken - earlier.taken).as_secs_f64());
        let earlier = self.earlier.as_ref();

        let mut containers = Vec::new();
        for one in reservations.list().into_iter().filter(|one| concerns(&one.name)) {
            let Some(interface) = self.service.interface(&one.name)?.1 else { continue };
            let Some(now) = interfaces.get(&interface) else { continue };
            let before = earlier.and_then(|earlier| earlier.interfaces.get(&interface));
            let rate = |of: fn(&Network) -> Traffic| rate(before.map(of), of(now), seconds);
            containers.push(ContainerTraffic { name: one.name, rx: rate(received), tx: rate(sent) });
        }
        containers
            .sort_by_key(|one| std::cmp::Reverse(one.rx.bytes_per_second.saturating_add(one.tx.bytes_per_second)));
        let mut shown: Vec<_> = rules
            .iter()
            .map(|counted| {
                let before = earlier.and_then(|earlier| earlier.rules.get(&counted.rule)).copied();
                RuleTraffic { rule: counted.rule.clone(), rate: rate(before, counted.traffic, seconds) }
            })
            .collect();
        shown.sort_by_key(|one| std::cmp::Reverse(one.rate.bytes_per_second));
        let rules = rules.into_iter().map(|counted| (counted.rule, counted.traffic)).collect();
        self.earlier = Some(Sample { taken, interfaces, rules });
        Ok(NetworkUsage { containers, rules: shown })
    }
}

fn received(network: &Network) -> Traffic {
    Traffic { packets: network.rx_packets, bytes: network.rx_bytes }
}

fn sent(network: &Network) -> Traffic {
    Traffic { packets: network.tx_packets, bytes: network.tx_bytes }
}

/// What was added per second. A counter that fell was made anew meanwhile, and counts from nothing.
fn rate(before: Option<Traffic>, now: Traffic, seconds: Option<f64>) -> TrafficRate {
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) else { return TrafficRate::default() };
    let before = before.unwrap_or_default();
    let added = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now);
    let per_second = |added: u64| (added as f64 / seconds).round() as u64;
    TrafficRate {
        packets_per_second: per_second(added(before.packets, now.packets)),
        bytes_per_second: per_second(added(before.bytes, now.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_added_and_a_counter_that_fell_begins_anew() {
        let traffic = |packets, bytes| Traffic { packets, bytes };
        let is = |packets_per_second, bytes_per_second| TrafficRate { packets_per_second, bytes_per_second };
        assert_eq!(rate(Some(traffic(10, 1000)), traffic(20, 3000), Some(2.0)), is(5, 1000));
        assert_eq!(rate(Some(traffic(10, 1000)), traffic(4, 400), Some(2.0)), is(2, 200));
        assert_eq!(rate(None, traffic(4, 400), Some(2.0)), is(2, 200));
        assert_eq!(rate(None, traffic(4, 400), None), TrafficRate::default());
        assert_eq!(rate(None, traffic(4, 400), Some(0.0)), TrafficRate::default());
    }
}
