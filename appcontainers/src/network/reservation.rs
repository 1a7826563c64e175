//! What containers hold exclusively until they are removed: name, address, MAC, id range.
//!
//! `resources.json` is a snapshot, `resources.journal` what changed since: a reservation costs one
//! appended line however many there are. Entries are numbered and the snapshot says which is its last,
//! so a kill at any step of folding the journal into the snapshot harms nothing:
//!
//! ```text
//! snapshot s0 + journal 1..n   ->  snapshot sn written, renamed   ->  journal replaced by an empty one
//!                                  (killed here: 1..n are read again and passed over)
//! ```
//!
//! Who only reserves does not parse a long snapshot: an index of it (see `index.rs`) says what is surely free.
//!
//! Writing needs the host's lock. Reading needs none: the journal is read before the snapshot, so what
//! was folded in between is in the snapshot.

mod all;
mod error;
mod find;
mod reserve;
mod store;
#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
    path::PathBuf,
};

pub use all::Reservations;
pub use error::ReservationError;
pub use find::find;
use ipnetwork::{Ipv4Network, Ipv6Network};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use store::ReservationStore;

use super::{Addresses, IdRange, MacAddress, address, host};
use crate::{ContainerName, Paths, state::Durability};

/// What one container holds.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, network::Reservations};
///
/// let reservations = Reservations::read(&Paths::from_env()?)?;
/// if let Some(web) = reservations.get(&"web".parse()?) {
///     println!("web holds {} and {} until it is removed", web.ip, web.mac);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// The container.
    pub name: ContainerName,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its interface's address.
    pub mac: MacAddress,
    /// Its ids on the host; a privileged container has none.
    pub id_range: Option<IdRange>,
    /// When it was reserved.
    pub created: Timestamp,
}

/// Out of what reservations are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSettings {
    /// The containers' network.
    pub subnet: Ipv4Network,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// The host's ids that stand for containers' ids.
    pub id_pool: IdPool,
    /// The containers' network in IPv6; a container's address in it follows from its IPv4 address. None where an older
    /// program set the host up, and `setup` was not run since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<Ipv6Network>,
}

impl PoolSettings {
    /// The subnet with its first address as gateway, and an IPv6 subnet that nobody else has.
    pub fn new(subnet: Ipv4Network, id_pool: IdPool) -> Self {
        Self { subnet, gateway: address::gateway_of(subnet), id_pool, subnet6: Some(address::unique_local()) }
    }

    /// What a container of this IPv4 address has in IPv6.
    pub fn address6(&self, ip: Ipv4Addr) -> Option<Ipv6Addr> {
        self.subnet6.map(|subnet| address::within(subnet, ip))
    }

    /// Both addresses of a container; in IPv6 where this host has that.
    pub fn addresses(&self, ip: Ipv4Addr) -> Addresses {
        Addresses { v4: ip, v6: self.address6(ip).filter(|_| host::has_ipv6()) }
    }
}

/// A row of ids out of which containers get their ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdPool {
    /// The first.
    pub base: u32,
    /// How many.
    pub count: u32,
}

impl IdPool {
    /// The ids.
    pub fn ids(&self) -> Range<u32> {
        self.base..self.base.saturating_add(self.count)
    }
}

/// How to reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveOptions {
    /// Without an id range of its own.
    pub privileged: bool,
    /// Whether the reservation survives a power cut; an ephemeral container's need not.
    pub durability: Durability,
}

fn journal_path(paths: &Paths) -> PathBuf {
    paths.resources().with_extension("journal")
}
