//! Ports of the host that containers publish, held by sockets that nobody can reach: packets go to the container before they
//! would come here. As long as they are held, no program of the host can have them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt},
};

use super::policy::{NetworkPolicy, Protocol, Publication};
use crate::{ContainerName, Paths, state::StateError};

/// Why a port could not be held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotHeld {
    /// Somebody has it.
    #[error("port {port} ({}) of this host is taken", protocol.as_str())]
    Taken {
        /// The port.
        port: NonZeroU16,
        /// Of what.
        protocol: Protocol,
    },
    /// The host has no such address.
    #[error("{address} is no address of this host")]
    Foreign {
        /// The address.
        address: IpAddr,
    },
    /// Whatever else.
    #[error("cannot hold port {port} of this host")]
    Failed {
        /// The port.
        port: NonZeroU16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What is published is not known.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The ports of one container, held until this is dropped.
#[derive(Debug, Default)]
pub struct HeldPorts(Vec<(Publication, Vec<OwnedFd>)>);

impl HeldPorts {
    /// Holds what the container publishes now, and nothing else. What can't be held is said last: the rest is.
    pub fn follow(&mut self, paths: &Paths, name: &ContainerName) -> Result<(), NotHeld> {
        let published = NetworkPolicy::load(paths, name)?.publish;
        self.0.retain(|(held, _)| published.contains(held));
        let mut result = Ok(());
        for publication in published {
            if self.0.iter().all(|(held, _)| *held != publication) {
                match hold(&publication) {
                    Ok(sockets) => self.0.push((publication, sockets)),
                    Err(error) => result = Err(error),
                }
            }
        }
        result
    }
}

/// Holds the host's side of a publication.
pub(crate) fn hold(publication: &Publication) -> Result<Vec<OwnedFd>, NotHeld> {
    let ports = publication.pairs().filter_map(|(host, _)| NonZeroU16::new(host));
    ports.map(|port| hold_one(publication, port)).collect()
}

fn hold_one(publication: &Publication, port: NonZeroU16) -> Result<OwnedFd, NotHeld> {
    let bound = match publication.address {
        Some(address) => bind_to(address, port, publication.protocol),
        // One socket for both protocols, where there are both.
        None => match bind_to(Ipv6Addr::UNSPECIFIED.into(), port, publication.protocol) {
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                bind_to(Ipv4Addr::UNSPECIFIED.into(), port, publication.protocol)
            }
            bound => bound,
        },
    };
    bound.map_err(|errno| match (errno, publication.address) {
        (Errno::ADDRINUSE, _) => NotHeld::Taken { port, protocol: publication.protocol },
        (Errno::ADDRNOTAVAIL, Some(address)) => NotHeld::Foreign { address },
        (errno, _) => NotHeld::Failed { port, source: errno.into() },
    })
}

/// A socket at the port, which neither listens nor is read.
pub(crate) fn bind_to(address: IpAddr, port: NonZeroU16, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // Connections that a program of the host has just ended are no reason against it (socket(7)); a program that
    // would share the port is, so afterwards it is not shared.
    let is_tcp = protocol == Protocol::Tcp;
    sockopt::set_socket_reuseaddr(&socket, is_tcp)?;
    bind(&socket, &SocketAddr::new(address, port.get()))?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn publication(protocol: Protocol, port: u16, address: Option<IpAddr>) -> Publication {
        let [host_port, port, count] = [port, 80, 1].map(|number| NonZeroU16::new(number).unwrap());
        Publication { address, protocol, host_port, port, count }
    }

    #[test]
    fn a_held_port_is_nobody_elses_until_it_is_let_go() {
        let local: IpAddr = Ipv4Addr::LOCALHOST.into();
        let free = TcpListener::bind((local, 0)).unwrap().local_addr().unwrap().port();
        for address in [None, Some(local)] {
            let tcp = publication(Protocol::Tcp, free, address);
            let held = hold(&tcp).unwrap();
            assert!(TcpListener::bind((local, free)).is_err());
            assert!(matches!(hold(&tcp), Err(NotHeld::Taken { port, .. }) if port.get() == free));
            drop(held);
            let listener = TcpListener::bind((local, free)).unwrap();
            assert!(matches!(hold(&tcp), Err(NotHeld::Taken { .. })));
            drop(listener);
        }
        let udp = publication(Protocol::Udp, free, None);
        let held = hold(&udp).unwrap();
        assert!(UdpSocket::bind((local, free)).is_err());
        drop(held);
        UdpSocket::bind((local, free)).unwrap();
    }

    #[test]
    fn an_address_of_somebody_else_is_said_to_be_one() {
        let foreign = publication(Protocol::Tcp, 1, Some(Ipv4Addr::new(192, 0, 2, 7).into()));
        assert!(matches!(hold(&foreign), Err(NotHeld::Foreign { .. })));
    }
}
