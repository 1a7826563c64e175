//! What `ls` and `inspect` tell of a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::Serialize;

use super::{Container, LifeDetails, LimitDetails};
use crate::{
    ContainerName, Error, Hostname, ImageName, Mount, Paths,
    image::{Digest, ImageConfig},
    network::{
        IdRange, MacAddress, NetworkMode, Port, ReservationError, Reservations,
        policy::{Egress, NetworkPolicy},
    },
    record::{ContainerRecord, Init, OverlayKind},
    runtime::{self, Status},
    secret::SecretGrant,
};

/// A container: configuration, reservation and status together.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, Service};
///
/// for listed in Service::open(Paths::from_env()?).containers()? {
///     match listed.details {
///         Ok(details) => println!("{} {} {:?}", details.name, details.ip, details.status),
///         Err(error) => eprintln!("{}: {error}", listed.name),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct ContainerDetails {
    /// Its name.
    pub name: ContainerName,
    /// Whether it runs.
    pub status: Status,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its address in IPv6, where this host has that.
    pub ip6: Option<Ipv6Addr>,
    /// Its interface's address.
    pub mac: MacAddress,
    /// Its ids on the host; a privileged container has none of its own.
    pub id_range: Option<IdRange>,
    /// The host name inside.
    pub hostname: Hostname,
    /// The operating system under it.
    pub base: ImageName,
    /// The image that it was made from; its base if it was provisioned.
    pub image: ImageName,
    /// Its writable layer.
    pub overlay: OverlayKind,
    /// Whether its root is the host's root.
    pub privileged: bool,
    /// Whether it is started when the host boots.
    pub autostart: bool,
    /// What its process 1 is.
    pub init: Init,
    /// What keeps it alive, and how it stands.
    pub life: LifeDetails,
    /// When it was made.
    pub created: Timestamp,
    /// How its program is run.
    pub config: ImageConfig,
    /// The secrets that it is given: which and where, not what they are.
    pub secrets: Vec<SecretGrant>,
    /// The image's layers, the lowest first.
    pub layers: Vec<Digest>,
    /// How many bytes it can write beside its image; as many as there is room for if absent.
    pub disk: Option<u64>,
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// How it is connected, and its own network rules; those of others that concern it has [`Container::network`].
    pub network: NetworkRules,
    /// What it may use of the host; what is in force has [`Container::details`] alone.
    pub limits: LimitDetails,
}

/// A container's network: its mode and its rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkRules {
    /// How it is connected to the host.
    pub mode: NetworkMode,
    /// Who may connect to it.
    pub allow: Vec<AllowRule>,
    /// The services that it knows by name.
    pub links: Vec<LinkRule>,
    /// The host's ports that are its own.
    pub publish: Vec<PublishRule>,
    /// Where it may connect to outside.
    pub egress: Egress,
}

/// Who may connect to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowRule {
    /// A container or a network.
    pub from: String,
    /// At which port; at all if absent.
    pub port: Option<Port>,
}

/// A service that a container knows by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkRule {
    /// The name.
    pub service: Hostname,
    /// The container behind it.
    pub provider: ContainerName,
    /// At which port.
    pub port: Port,
}

/// Ports of the host that are a container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishRule {
    /// At this address of the host's; at all if absent.
    pub address: Option<IpAddr>,
    /// The host's port, or ports.
    pub host_port: String,
    /// The container's.
    pub port: String,
}

impl NetworkRules {
    fn new(mode: NetworkMode, policy: NetworkPolicy) -> Self {
        let allow = policy.allow.into_iter().map(|allow| AllowRule { from: allow.from.to_string(), port: allow.port });
        let links = policy.links.into_iter().map(|(service, link)| LinkRule {
            service,
            provider: link.provider.name,
            port: link.port,
        });
        let publish = policy.publish.into_iter().map(|one| PublishRule {
            address: one.address,
            host_port: one.host_side(),
            port: one.inside(),
        });
        Self { mode, allow: allow.collect(), links: links.collect(), publish: publish.collect(), egress: policy.egress }
    }
}

impl Container {
    /// All that is known of the container.
    pub fn details(&self) -> Result<ContainerDetails, Error> {
        let details = details(&self.paths, self.record()?, &Reservations::read(&self.paths)?)?;
        Ok(ContainerDetails { limits: self.limits()?, ..details })
    }
}

/// A container's details out of what was read for many.
pub(crate) fn details(
    paths: &Paths,
    record: ContainerRecord,
    reservations: &Reservations,
) -> Result<ContainerDetails, Error> {
    let name = &record.name;
    let reservation = reservations.get(name).ok_or_else(|| ReservationError::Unknown { name: name.clone() })?;
    let network = NetworkPolicy::load(paths, name)?;
    let status = runtime::shown_status(paths, name)?;
    Ok(ContainerDetails {
        name: name.clone(),
        status,
        life: LifeDetails::new(paths, name, &record.settings.life, status)?,
        ip: reservation.ip,
        ip6: reservations.settings().addresses(reservation.ip).v6,
        mac: reservation.mac,
        id_range: reservation.id_range,
        hostname: record.hostname,
        base: record.base.name,
        image: record.image.name,
        overlay: record.overlay,
        privileged: record.privileged,
        autostart: record.autostart,
        init: record.init,
        created: record.created,
        config: record.config,
        secrets: record.settings.secrets,
        layers: record.layers,
        disk: record.settings.disk,
        mounts: record.settings.mounts,
        network: NetworkRules::new(record.network, network),
        limits: LimitDetails { asked: record.settings.limits, actual: None },
    })
}
