//! Ports of the host on which the gateway listens.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use rustix::io::Errno;

use super::GatewayError;
use crate::network::{Protocol, held_ports};

/// A port of 1 to 65535, as this program writes it.
pub(super) fn parse(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_plain { text.parse().ok() } else { None }
}

/// An error if another program listens on one of these. Caddy does not notice one that shares its ports, as Caddy's own service
/// does: each would get a part of the connections.
pub(super) fn check_free(ports: &BTreeSet<u16>) -> Result<(), GatewayError> {
    for port in ports.iter().filter_map(|port| NonZeroU16::new(*port)) {
        for address in [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()] {
            // Without listening: a client that comes just now is to be refused, not taken and then left. What else is wrong Caddy
            // will say, or not: a host without IPv6 has no such address.
            if let Err(source @ Errno::ADDRINUSE) = held_ports::bind_to(address, port, Protocol::Tcp) {
                return Err(GatewayError::PortTaken { port: port.get(), source: source.into() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_on_which_one_address_is_listened_on_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check_free(&BTreeSet::from([port])).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()), "{error}");
        drop(listener);
        check_free(&BTreeSet::from([port])).unwrap();
    }
}
