//! What a container has of the network: an address, a MAC and a range of ids of its own, reserved
//! until it is removed; and the host's side of it.

mod address;
mod host;
mod id_range;
mod index;
mod journal;
mod mac;
mod names;
mod netlink;
mod pool;
mod record;
mod reservation;
mod ruleset;
mod snapshot;

pub use address::{NoSubnet, RoutesError, default_subnet, host_networks};
pub use host::{HostNetwork, HostNetworkError};
pub use id_range::{IdBeyondRange, IdRange, SubordinateIds, SubordinateIdsError};
pub use mac::{InvalidMac, MacAddress};
pub use names::{bridge, new_veth_name, table, veth_prefix};
pub use netlink::delete_route;
pub use reservation::{
    IdPool, PoolSettings, Reservation, ReservationError, ReservationStore, Reservations, ReserveOptions,
};
