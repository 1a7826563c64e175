//! Whom a container may reach, who may reach it, and under which names and ports. Each change is made in a running container
//! at once, and is there after every start.

use std::{net::IpAddr, num::NonZeroU16};

use appcontainers_wire::client::{FromClient, ToClient};
use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::Value;

use super::{Container, monitor};
use crate::{
    ContainerName, Error, Hostname, event,
    network::{
        Port, Protocol, Reservations, held_ports,
        policy::{self, Allow, Client, Egress, Link, NetworkPolicy, PolicyChange, Publication},
    },
    runtime::Status,
    state::HostLock,
};

/// Who may connect.
///
/// # Examples
///
/// ```
/// use appcontainers::container::Source;
///
/// assert_eq!("web".parse::<Source>()?, Source::Container("web".parse()?));
/// assert_eq!("192.0.2.0/24".parse::<Source>()?, Source::Network("192.0.2.0/24".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Another container.
    Container(ContainerName),
    /// Whoever outside has one of these addresses; never a container.
    Network(IpNetwork),
}

impl std::str::FromStr for Source {
    type Err = InvalidSource;
    /// A network or an address, else a container's name.
    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        match text.parse() {
            Ok(network) => Ok(Source::Network(network)),
            Err(_) => {
                text.parse().map(Source::Container).map_err(|_| InvalidSource { text: text.chars().take(80).collect() })
            }
        }
    }
}

/// Neither a container's name nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is neither a container's name nor a network: use a name of `appc ls`, or an address or CIDR, as 192.0.2.0/24"
)]
pub struct InvalidSource {
    text: String,
}

/// A link, and whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Linked {
    /// The container that has it.
    pub consumer: ContainerName,
    /// The name by which it knows the provider.
    pub service: Hostname,
    /// The container behind that.
    pub provider: ContainerName,
    /// At which port.
    pub port: Port,
    /// The provider's address; none if that container is gone.
    pub ip: Option<std::net::Ipv4Addr>,
    /// Whether the provider runs.
    pub running: bool,
}

impl Container {
    /// Lets another container, or those outside who have an address of a network, connect to this one: at one port, or at all.
    pub fn allow(&self, from: &Source, port: Option<Port>) -> Result<(), Error> {
        self.change_rules(|change| {
            let from = self.client(change, from, "allowed to connect to")?;
            change.policy(&self.name)?.allow.insert(Allow { from, port });
            Ok(())
        })?;
        self.note_rule("allow", from, port);
        Ok(())
    }

    /// Takes back what [`Container::allow`] gave: at one port, or, without a port, at all of them. Connections that were open
    /// for that reason alone end.
    pub fn deny(&self, from: &Source, port: Option<Port>) -> Result<(), Error> {
        self.change_rules(|change| {
            let client = match self.client(change, from, "denied to connect to") {
                Ok(client) => client,
                Err(Error::Policy(policy::PolicyError::Reservation(_))) => {
                    return Err(self.not_allowed(from, port, false));
                }
                Err(error) => return Err(error),
            };
            let policy = change.policy(&self.name)?;
            let before = policy.allow.len();
            policy.allow.retain(|allow| allow.from != client || (port.is_some() && allow.port != port));
            if policy.allow.len() < before {
                return Ok(());
            }
            let own = change.peer(&self.name)?;
            let is_linked = match &client {
                Client::Container(peer) => change.policy(&peer.name)?.links.values().any(|link| link.provider == own),
                Client::Network(_) => false,
            };
            Err(self.not_allowed(from, port, is_linked))
        })?;
        self.note_rule("deny", from, port);
        Ok(())
    }

    /// Makes another container reachable in this one as `service`, at the port that is given or that the other's image
    /// names for the service. A service that was linked to another container leads to this one from now on.
    pub fn link(&self, service: &Hostname, provider: &ContainerName, port: Option<Port>) -> Result<(), Error> {
        if service.as_str() == "localhost" || *service == self.record()?.hostname {
            return Err(Error::ServiceName { service: service.clone() });
        }
        if *provider == self.name {
            return Err(Error::Itself { name: self.name.clone(), what: "linked to" });
        }
        let port = match port {
            Some(port) => port,
            None => self.provided(service, provider)?,
        };
        self.change_rules(|change| {
            let provider = change.peer(provider)?;
            change.policy(&self.name)?.links.insert(service.clone(), Link { provider, port });
            Ok(())
        })?;
        let values = [("service", service.as_str()), ("provider", provider.as_str())];
        event::note(&self.paths, &self.name, "link", &values.map(|(key, value)| (key, Value::from(value))));
        Ok(())
    }

    /// Takes a link away.
    pub fn unlink(&self, service: &Hostname) -> Result<(), Error> {
        self.change_rules(|change| match change.policy(&self.name)?.links.remove(service) {
            Some(_) => Ok(()),
            None => Err(Error::NoLink { name: self.name.clone(), service: service.clone() }),
        })?;
        event::note(&self.paths, &self.name, "unlink", &[("service", Value::from(service.as_str()))]);
        Ok(())
    }

    /// The services that this container knows.
    pub fn links(&self) -> Result<Vec<Linked>, Error> {
        self.record()?;
        let links = NetworkPolicy::load(&self.paths, &self.name)?.links;
        let linked = links.into_iter().map(|(service, link)| {
            let provider = link.provider.name;
            let reservation =
                crate::network::find(&self.paths, &provider)?.1.filter(|one| one.mac == link.provider.mac);
            let running = reservation.is_some() && policy::is_active(&self.paths, &provider);
            Ok(Linked {
                consumer: self.name.clone(),
                service,
                provider,
                port: link.port,
                ip: reservation.map(|one| one.ip),
                running,
            })
        });
        linked.collect()
    }

    /// Makes ports of the host this container's. While it runs nobody else can have them.
    pub fn publish(&self, publication: &Publication) -> Result<(), Error> {
        self.record()?;
        let published = NetworkPolicy::load(&self.paths, &self.name)?.publish;
        if published.contains(publication) {
            // A call that was interrupted may not have come to all of this.
            self.change_rules(|_| Ok(()))?;
            policy::admit_loopback(&self.paths, &self.name)?;
            return self.hold_ports();
        }
        if let Some(port) = published.iter().find_map(|other| other.overlap(publication)) {
            let port = Port { protocol: publication.protocol, number: port };
            let holder = format!("this container publishes it already (appc unpublish {port} {})", self.name);
            return Err(Error::PortTaken { port: port.to_string(), holder });
        }
        self.change_rules(|change| {
            // Whoever has one of these ports is found before anything is changed. It is let go before the rule is there, for from
            // then on the monitor is to hold it, whoever asks the monitor first.
            drop(held_ports::hold(publication).map_err(|error| self.port_taken(error))?);
            change.policy(&self.name)?.publish.insert(publication.clone());
            Ok(())
        })?;
        policy::admit_loopback(&self.paths, &self.name)?;
        if let Err(error) = self.hold_ports() {
            self.change_rules(|change| {
                change.policy(&self.name)?.publish.remove(publication);
                Ok(())
            })?;
            return Err(error);
        }
        event::note(&self.paths, &self.name, "publish", &[("port", Value::from(publication.host_side()))]);
        Ok(())
    }

    /// Gives ports of the host back: those of publications at these ports, at `address` alone if there is one. Connections through
    /// them end.
    pub fn unpublish(&self, ports: &policy::PortRange, address: Option<IpAddr>) -> Result<(), Error> {
        let is_meant = |one: &Publication| {
            (one.protocol, one.host_port, one.count) == (ports.protocol, ports.first, ports.count)
                && (address.is_none() || one.address == address)
        };
        let port = Publication {
            address,
            protocol: ports.protocol,
            host_port: ports.first,
            port: ports.first,
            count: ports.count,
        }
        .host_side();
        self.change_rules(|change| {
            let published = &mut change.policy(&self.name)?.publish;
            let before = published.len();
            published.retain(|one| !is_meant(one));
            if published.len() < before {
                Ok(())
            } else {
                Err(Error::NotPublished { name: self.name.clone(), port: port.clone() })
            }
        })?;
        self.hold_ports()?;
        event::note(&self.paths, &self.name, "unpublish", &[("port", Value::from(port))]);
        Ok(())
    }

    /// Says where this container may connect to outside.
    pub fn set_egress(&self, egress: Egress) -> Result<(), Error> {
        self.change_rules(|change| {
            change.policy(&self.name)?.egress = egress;
            Ok(())
        })
    }

    /// The container's rules.
    pub fn network_policy(&self) -> Result<NetworkPolicy, Error> {
        self.record()?;
        Ok(NetworkPolicy::load(&self.paths, &self.name)?)
    }

    fn change_rules(&self, edit: impl FnOnce(&mut PolicyChange<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.record()?;
        let lock = HostLock::acquire(&self.paths)?;
        let mut change = PolicyChange::begin(&self.paths, &lock);
        edit(&mut change)?;
        Ok(change.commit()?)
    }

    fn client(&self, change: &mut PolicyChange<'_>, from: &Source, what: &'static str) -> Result<Client, Error> {
        match from {
            Source::Network(network) => {
                let first = IpNetwork::new(network.network(), network.prefix()).unwrap_or(*network);
                Ok(Client::Network(first))
            }
            Source::Container(name) if *name == self.name => Err(Error::Itself { name: name.clone(), what }),
            Source::Container(name) => Ok(Client::Container(change.peer(name)?)),
        }
    }

    fn not_allowed(&self, from: &Source, port: Option<Port>, link_hint: bool) -> Error {
        Error::NotAllowed { from: from.to_string(), name: self.name.clone(), port, link_hint }
    }

    fn provided(&self, service: &Hostname, provider: &ContainerName) -> Result<Port, Error> {
        let provides = Container::open(&self.paths, provider)?.record()?.config.provides;
        match provides.get(service.as_str()).and_then(|port| port.parse().ok()) {
            Some(port) => Ok(port),
            None => Err(Error::UnknownService {
                provider: provider.clone(),
                service: service.clone(),
                provides: provides.into_keys().collect(),
            }),
        }
    }

    /// Has the monitor hold the ports that are published now.
    fn hold_ports(&self) -> Result<(), Error> {
        if self.status()? != Status::Running {
            return Ok(());
        }
        let of_monitor = |source| Error::Monitor { name: self.name.clone(), source };
        let mut connection = monitor::connect(&self.paths, &self.name)?;
        connection.wait_ready(monitor::READY_TIMEOUT).map_err(of_monitor)?;
        connection.send(&FromClient::HoldPorts, &[]).map_err(of_monitor)?;
        loop {
            match connection.receive(monitor::READY_TIMEOUT).map_err(of_monitor)? {
                // What goes down holds nothing.
                ToClient::Done | ToClient::Stopping | ToClient::Stopped => return Ok(()),
                _ => {}
            }
        }
    }

    /// The container that has a port of the host's among its own.
    fn publisher_of(&self, port: NonZeroU16, protocol: Protocol) -> Option<ContainerName> {
        let all = Reservations::read(&self.paths).ok()?.list();
        let has = |name: &ContainerName| {
            NetworkPolicy::load(&self.paths, name).is_ok_and(|policy| {
                policy
                    .publish
                    .iter()
                    .any(|one| one.protocol == protocol && one.pairs().any(|(host, _)| host == port.get()))
            })
        };
        all.into_iter().map(|one| one.name).find(|name| *name != self.name && has(name))
    }

    fn note_rule(&self, kind: &str, from: &Source, port: Option<Port>) {
        let mut values = vec![("from", Value::from(from.to_string()))];
        values.extend(port.map(|port| ("port", Value::from(port.to_string()))));
        event::note(&self.paths, &self.name, kind, &values);
    }

    /// Whose the port is that could not be held.
    fn port_taken(&self, error: held_ports::NotHeld) -> Error {
        match error {
            held_ports::NotHeld::Taken { port, protocol } => {
                let holder = self.publisher_of(port, protocol);
                Error::PortTaken {
                    port: Port { protocol, number: port }.to_string(),
                    holder: holder.map_or_else(
                        || "a program of this host listens there (ss -lntup tells which)".to_owned(),
                        |name| format!("container {name} publishes it (appc unpublish {port} {name})"),
                    ),
                }
            }
            held_ports::NotHeld::Foreign { address } => Error::ForeignAddress { address },
            held_ports::NotHeld::State(error) => error.into(),
            held_ports::NotHeld::Failed { port, source } => Error::HoldPort { port: port.to_string(), source },
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Container(name) => name.fmt(f),
            Source::Network(network) => network.fmt(f),
        }
    }
}
