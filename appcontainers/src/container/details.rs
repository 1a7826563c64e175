//! What `ls` and `inspect` tell of a container.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::Serialize;

use super::Container;
use crate::{
    ContainerName, Error, Hostname, ImageName, Paths,
    image::{Digest, ImageConfig},
    network::{IdRange, MacAddress, ReservationError, Reservations},
    record::{ContainerRecord, Init, OverlayKind},
    runtime::{self, Status},
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
    /// When it was made.
    pub created: Timestamp,
    /// How its program is run.
    pub config: ImageConfig,
    /// The image's layers, the lowest first.
    pub layers: Vec<Digest>,
}

impl Container {
    /// All that is known of the container.
    pub fn details(&self) -> Result<ContainerDetails, Error> {
        details(&self.paths, self.record()?, &Reservations::read(&self.paths)?)
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
    Ok(ContainerDetails {
        name: name.clone(),
        status: runtime::status(paths, name)?,
        ip: reservation.ip,
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
        layers: record.layers,
    })
}
