//! Why something could not be reserved, released or read.

use std::{net::Ipv4Addr, path::PathBuf};

use ipnetwork::Ipv4Network;

use crate::{ContainerName, network::SubordinateIdsError, state::StateError};

/// Why something could not be reserved or released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReservationError {
    /// There is no subnet to reserve from.
    #[error("{} is missing: the host is not set up; run `appc setup`", path.display())]
    NotSetUp {
        /// Where the reservations would be.
        path: PathBuf,
    },
    /// The name belongs to another container.
    #[error("the name {name} is taken; choose another, or remove its container: appc rm {name}")]
    Taken {
        /// The name.
        name: ContainerName,
    },
    /// No container has this name.
    #[error("there is no container {name}; `appc ls` lists those that are there")]
    Unknown {
        /// The name.
        name: ContainerName,
    },
    /// Every address is reserved.
    #[error(
        "all addresses of {subnet} are reserved ({held} containers); remove containers that are not needed (appc ls, appc rm)"
    )]
    AddressesExhausted {
        /// The containers' network.
        subnet: Ipv4Network,
        /// How many containers there are.
        held: usize,
    },
    /// The address can't be a container's.
    #[error("{ip} can't be a container's address: use one of {subnet}, but not its first two or its last")]
    ForeignAddress {
        /// The address.
        ip: Ipv4Addr,
        /// The containers' network.
        subnet: Ipv4Network,
    },
    /// The address belongs to another container.
    #[error("{ip} is the address of container {holder}; choose another")]
    AddressTaken {
        /// The address.
        ip: Ipv4Addr,
        /// Whose it is.
        holder: ContainerName,
    },
    /// Every id range is reserved.
    #[error(
        "all {ranges} id ranges from {first} on are reserved; remove containers that are not needed (appc ls, appc rm)"
    )]
    IdsExhausted {
        /// How many there are.
        ranges: u32,
        /// The first id of the pool.
        first: u32,
    },
    /// Root may not use the ids that setup chose.
    #[error("/etc/subuid and /etc/subgid no longer give root ids {first} to {last} alone; run `appc setup`")]
    IdsNotGranted {
        /// The first id of the pool.
        first: u32,
        /// The last.
        last: u32,
    },
    /// `/etc/subuid` or `/etc/subgid` can't be read.
    #[error(transparent)]
    SubordinateIds(#[from] SubordinateIdsError),
    /// The host's interfaces can't be listed.
    #[error("cannot read the interfaces' addresses in {}", path.display())]
    Interfaces {
        /// Where they are.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The snapshot or the journal can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A line of the journal that is not its last is not what was written.
    #[error(
        "{}: line {line} is damaged; remove that line, then `appc doctor` shows containers that lost their reservation",
        path.display()
    )]
    JournalDamaged {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The journal does not follow from the snapshot.
    #[error(
        "{}: entry {seq} does not fit what is before it; restore resources.json and resources.journal from one backup",
        path.display()
    )]
    JournalOutOfStep {
        /// The journal.
        path: PathBuf,
        /// The entry's number.
        seq: u64,
    },
}
