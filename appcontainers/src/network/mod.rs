//! What a container has of the network: an address, a MAC and a range of ids of its own, reserved
//! until it is removed; and the host's side of it.

mod address;
mod bridge_port;
mod faults;
mod firewall;
pub mod held_ports;
mod host;
mod id_range;
mod index;
mod interface;
mod journal;
mod mac;
mod mode;
mod names;
mod netlink;
pub mod policy;
mod pool;
mod record;
mod reservation;
mod snapshot;

pub use address::{NoSubnet, RoutesError, default_subnet, host_networks};
pub use bridge_port::attach as attach_port;
pub(crate) use bridge_port::forget as forget_port;
pub use faults::Fault;
pub(crate) use faults::is_own_address;
pub use firewall::Traffic;
pub use held_ports::HeldPorts;
pub(crate) use host::forwarding;
pub use host::{HostNetwork, HostNetworkError};
pub use id_range::{IdBeyondRange, IdRange, SubordinateIds, SubordinateIdsError};
pub(crate) use interface::move_interface;
pub use interface::{InterfaceError, Link, settle_interface};
pub use mac::{InvalidMac, MacAddress};
pub use mode::NetworkMode;
pub use names::{bridge, bridge_mac, new_veth_name, table, veth_prefix};
pub use netlink::delete_route;
pub(crate) use netlink::has_device_table;
pub use policy::{Addresses, Port, Protocol};
pub use reservation::{
    IdPool, PoolSettings, Reservation, ReservationError, ReservationStore, Reservations, ReserveOptions, find,
};
